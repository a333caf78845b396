import Foundation

extension Tool.Result {
    /// A field of a network tool's report: of its `result`, of the `path` in there, or of that one's `statistics` or `loop`.
    public func field(_ name: String) throws -> Any? {
        let result = try result()
        guard let path = result["path"] as? [String: Any] else { return result[name] }
        func within(_ object: String) -> Any? { (path[object] as? [String: Any])?[name] }
        return result[name] ?? path[name] ?? within("statistics") ?? within("loop")
    }

    /// Such a field that is a whole number; throws if there is none.
    public func number(_ name: String) throws -> UInt64 {
        guard let number = try field(name) as? NSNumber else { throw NoNumber(name: name, result: self) }
        return number.uint64Value
    }
}

/// A report lacks a number.
public struct NoNumber: Error {
    let name: String
    let result: Tool.Result
}

/// What trafgen is to send to a receiver of frames: others' frames and ours, whole and broken.
public enum ForeignFrames {
    /// A configuration file of trafgen's with six frames, from side a of a ``VethPair`` to side b. In turn: another type of frame; our type,
    /// without our magic; a version that nobody knows; a body longer than the frame; frames 0 and 1 of stream 9, of 20
    /// bytes 0x41 and 20 bytes 0x42.
    public static var trafgen: String {
        let ethernet = "0x02,0,0,0,0,0x0b, 0x02,0,0,0,0,0x0a,"
        func header(kind: Int, version: Int = 1, body: Int, sequence: Int) -> String {
            "\(ethernet) c16(0x88b5), 'P','F','S','F', 0,0,0,0, \(version),\(kind),0,0, \(body),0,0,0, "
                + "\(sequence),0,0,0,0,0,0,0, 9,0,0,0, 0,0,0,0"
        }
        return [
            "{ \(ethernet) c16(0x88b6), fill(0x41, 50) }",
            "{ \(ethernet) c16(0x88b5), fill(0x41, 50) }",
            "{ \(header(kind: 1, version: 2, body: 20, sequence: 0)), fill(0x41, 20) }",
            "{ \(header(kind: 1, body: 200, sequence: 1)), fill(0x41, 20) }",
            "{ \(header(kind: 1, body: 20, sequence: 0)), fill(0x41, 20) }",
            "{ \(header(kind: 1, body: 20, sequence: 1)), fill(0x42, 20) }",
        ].joined(separator: "\n")
    }
}
