import Glibc

/// What the AF_XDP tools need to be allowed, in words that a shell takes.
public enum Permissions {
    /// What a tool does.
    public enum Role: Sendable {
        /// Send: open a packet socket.
        case send
        /// Receive: besides that, load a BPF program and attach it.
        case receive
    }

    /// The command that gives this executable the capabilities for a role, once and for all who may start it.
    public static func setcapLine(_ role: Role) -> String {
        let capabilities =
            switch role {
            case .send: "cap_net_raw"
            case .receive: "cap_net_raw,cap_net_admin,cap_bpf"
            }
        return "sudo setcap \(capabilities)+ep \(executable)"
    }

    /// Where this executable really is: a link cannot be given capabilities.
    private static var executable: String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        guard count > 0 else { return "FILE" }
        return String(decoding: path.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
