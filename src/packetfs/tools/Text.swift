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

/// Text in columns.
package enum TextTable {
    /// A line for each row; cells stand below each other, to the left.
    package static func lines(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            var line = zip(row, widths).map { pad($0, $1) }.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    /// `text` before as many blanks as make it `width` characters long.
    package static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// `text` behind them.
    package static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
