import ArgumentParser

/// An option that takes a number: its help, which ends with the limits, and its parser, which holds the number to them. So no number from
/// a command line can be so large that arithmetic with it overflows.
package struct NumberOption<Value: Sendable>: Sendable {
    fileprivate let help: String
    let parse: @Sendable (String) throws -> Value

    fileprivate func help(default value: Value? = nil, absent: String? = nil) -> ArgumentHelp {
        ArgumentHelp(help + (value.map { " (default: \($0))" } ?? absent.map { " (default: \($0))" } ?? ""))
    }
}

extension NumberOption where Value: FixedWidthInteger {
    /// A whole number in decimal digits.
    package static func whole(_ meaning: String, _ limits: ClosedRange<Value>) -> Self {
        let range = "from \(limits.lowerBound) to \(limits.upperBound)"
        return Self(help: "\(meaning), \(range).") { text in
            guard let value = Value(text), limits.contains(value), text.first != "+" else {
                throw ValidationError("must be a whole number \(range).")
            }
            return value
        }
    }

    /// A power of two in decimal digits.
    package static func powerOfTwo(_ meaning: String, _ limits: ClosedRange<Value>) -> Self {
        let number = whole("\(meaning), a power of two", limits)
        return Self(help: number.help) { text in
            let value = try number.parse(text)
            guard value.nonzeroBitCount == 1 else { throw ValidationError("must be a power of two.") }
            return value
        }
    }
}

extension NumberOption<Int> {
    /// A number of bytes: digits, and K, M, G or T for a power of 1024.
    package static func bytes(_ meaning: String, _ limits: ClosedRange<Int>) -> Self {
        let range = "from \(limits.lowerBound) to \(byteSize(limits.upperBound))"
        return Self(help: "\(meaning), \(range); K, M, G and T are powers of 1024.") { text in
            let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30, "T": 40]
            let shift = text.last.flatMap { shifts[$0] } ?? 0
            let digits = shift > 0 ? text.dropLast() : text[...]
            guard digits.first?.isNumber == true, let number = Int(digits), number <= Int.max >> shift,
                limits.contains(number << shift)
            else { throw ValidationError("must be bytes \(range).") }
            return number << shift
        }
    }
}

extension NumberOption<Double> {
    /// A decimal number.
    package static func decimal(_ meaning: String, _ limits: ClosedRange<Double>) -> Self {
        let range = "from \(plain(limits.lowerBound)) to \(plain(limits.upperBound))"
        return Self(help: "\(meaning), \(range).") { text in
            guard let value = Double(text), limits.contains(value), text.first != "+" else {
                throw ValidationError("must be a number \(range).")
            }
            return value
        }
    }

    private static func plain(_ value: Double) -> String {
        value == value.rounded() ? "\(Int(value))" : "\(value)"
    }
}

/// A number of bytes as people write it: `64K`.
package func byteSize(_ bytes: Int) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] where bytes > 0 && bytes % (1 << shift) == 0 {
        return "\(bytes >> shift)\(unit)"
    }
    return "\(bytes)"
}

extension Option {
    /// A number with a default.
    package init(wrappedValue: Value, _ number: NumberOption<Value>) where Value: Sendable {
        self.init(wrappedValue: wrappedValue, help: number.help(default: wrappedValue), transform: number.parse)
    }

    /// A number that may be absent; `absent` says what that means.
    package init<Number>(_ number: NumberOption<Number>, absent: String? = nil) where Value == Number? {
        self.init(help: number.help(absent: absent), transform: number.parse)
    }
}
