import Glibc
import SystemPackage

/// `value` with exactly `places` decimals, independent of the locale.
public func decimals(_ value: Double, _ places: Int) -> String {
    guard value.isFinite else { return "\(value)" }
    let scale = pow(10, Double(places))
    let scaled = (abs(value) * scale).rounded()
    guard scaled < 9e18 else { return "\(value)" }
    let digits = String(UInt64(scaled))
    let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
    let sign = value < 0 && scaled > 0 ? "-" : ""
    return sign + padded.dropLast(places) + (places > 0 ? "." + padded.suffix(places) : "")
}

/// `value` with 3 to 4 significant digits and a decimal SI prefix: `12.7 G`, for a unit to follow.
public func scaled(_ value: Double) -> String {
    var value = value
    for prefix in ["", "k", "M", "G", "T", "P"] {
        if abs(value) < 1000 || prefix == "P" {
            return decimals(value, prefix.isEmpty && value == value.rounded() ? 0 : 2) + " " + prefix
        }
        value /= 1000
    }
    return "\(value) "
}

/// Folders.
public enum Directory {
    /// Makes `path` and its missing parents. Failures show when a file in it is opened.
    public static func create(_ path: FilePath) {
        var partial = path
        partial.components.removeAll()
        for component in path.components {
            partial.append(component)
            mkdir(partial.string, 0o755)
        }
    }
}
