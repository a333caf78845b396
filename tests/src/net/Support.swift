import ToolTesting

/// The generator of all tests.
typealias SeededGenerator = ToolTesting.SeededGenerator
