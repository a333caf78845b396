import Glibc
import PacketFSTools

/// A shared library, loaded at run time and never unloaded.
struct Library: @unchecked Sendable {
    /// The name under which it was found.
    let path: String
    private let handle: UnsafeMutableRawPointer

    /// Loads the library; nil where there is none or it cannot be loaded.
    init?(ifPresent path: String) {
        guard let handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL) else { return nil }
        self.path = path
        self.handle = handle
    }

    /// Loads the library. `what` says in an error what it is.
    init(_ path: String, what: String) throws(ToolError) {
        guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            throw ToolError(.noInput, "cannot load \(what): \(String(cString: dlerror()))")
        }
        self.path = path
        self.handle = handle
    }

    /// The address of a function or variable; nil where the library has none of that name.
    func symbol(_ name: String) -> UnsafeMutableRawPointer? { dlsym(handle, name) }

    /// A function. The caller knows its type.
    func function<Function>(_ name: String, as type: Function.Type) -> Function? {
        symbol(name).map { unsafeBitCast($0, to: type) }
    }
}
