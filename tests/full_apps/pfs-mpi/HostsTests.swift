import Foundation
import Testing
import ToolTesting

/// What the other suites here stand on.
@Suite("Hosts made of namespaces", .serialized, .enabled(if: Hosts.areAvailable, "needs network namespaces"))
struct HostsTests {
    @Test("Hosts have their own names, addresses and shared memory; traffic between them is counted")
    func hosts() throws {
        let hosts = try Hosts(["alpha", "beta", "gamma"])
        for name in hosts.names { #expect(try hosts.run(on: name, "hostname") == name + "\n") }
        try hosts.run(on: "alpha", "touch", "/dev/shm/pfs-of-alpha")
        #expect(try hosts.run(on: "beta", "ls", "/dev/shm") == "")
        #expect(!FileManager.default.fileExists(atPath: "/dev/shm/pfs-of-alpha"))
        let before = try hosts.traffic(of: "gamma")
        #expect(try hosts.send(1_000_000, from: "beta", to: "gamma"))
        let after = try hosts.traffic(of: "gamma")
        #expect(after.received - before.received > 1_000_000)
        #expect(after.sent - before.sent < 1_000_000)
    }

    @Test("A cut cable loses everything, and works again once mended")
    func cable() throws {
        let hosts = try Hosts(["alpha", "beta"])
        try hosts.setCable(of: "beta", isCut: true)
        #expect(try !hosts.send(1, from: "alpha", to: "beta", within: 1))
        try hosts.setCable(of: "beta", isCut: false)
        #expect(try hosts.send(1, from: "alpha", to: "beta"))
    }

    @Test("Processes on a host are seen, and go with the hosts")
    func processes() throws {
        var hosts: Hosts? = try Hosts(["alpha", "beta"])
        let folder = try #require(hosts?.folder)
        let running = try Command.start(#require(hosts).wrapper("beta") + ["sleep", "1000"])
        let deadline = Date(timeIntervalSinceNow: 30)
        while hosts?.processes().first?.command.first != "sleep", Date() < deadline { usleep(1000) }
        let found = try #require(hosts?.processes())
        #expect(found.map(\.host) == ["beta"] && found.map(\.command) == [["sleep", "1000"]])
        #expect(hosts?.leftovers(after: 0).count == 1)
        hosts = nil
        for member in found { #expect(!Processes.isAlive(member.pid)) }
        #expect(try running.finish().status != 0)
        #expect(!FileManager.default.fileExists(atPath: folder))
    }

    @Test("The agent runs what a shell reads on the host that it is given")
    func agent() throws {
        let hosts = try Hosts(["alpha", "beta"])
        let agent = Tool(path: Hosts.agent)
        let said = try agent.run(
            ["-x", "beta", "echo $(hostname)", "'a  b'; exit 7"], environment: hosts.environment,
            wrapper: hosts.wrapper("alpha"))
        #expect(said.output == "beta a  b\n" && said.status == 7, "\(said)")
        let nobody = try agent.run(["delta", "true"], environment: hosts.environment, wrapper: hosts.wrapper("alpha"))
        #expect(nobody.status != 0 && nobody.errors.contains("delta"), "\(nobody)")
    }
}

extension Hosts {
    /// Sends so many bytes over TCP; whether they came. A host that does not answer is given up after so many seconds.
    fileprivate func send(
        _ count: Int, from sender: String, to receiver: String, within seconds: Int = 60
    ) throws -> Bool {
        let script = """
            import socket, sys
            listener = socket.create_server((sys.argv[1], 0))
            listener.settimeout(90)
            print(listener.getsockname()[1], flush=True)
            try:
                connection = listener.accept()[0]
            except TimeoutError:
                sys.exit(3)
            count = 0
            while data := connection.recv(65536):
                count += len(data)
            sys.exit(0 if count == int(sys.argv[2]) else 4)
            """
        let sending = """
            import socket, sys, time
            deadline = time.monotonic() + int(sys.argv[4])
            while True:
                try:
                    connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
                    break
                except OSError:
                    # Nobody has answered for the address, which is remembered for a moment.
                    if time.monotonic() > deadline:
                        sys.exit(3)
            connection.sendall(bytes(int(sys.argv[3])))
            """
        let address = address(of: receiver)
        let listening = try Command.start(wrapper(receiver) + ["python3", "-c", script, address, "\(count)"])
        let deadline = Date(timeIntervalSinceNow: 30)
        while !listening.outputSoFar.hasSuffix("\n"), listening.process.isRunning, Date() < deadline { usleep(1000) }
        let port = listening.outputSoFar.trimmingCharacters(in: .whitespacesAndNewlines)
        let sent = try Tool(path: "/usr/bin/env").run(
            wrapper(sender) + ["python3", "-c", sending, address, port, "\(count)", "\(seconds)"])
        if sent.status != 0 { for listener in processes() { kill(listener.pid, SIGKILL) } }
        return try listening.finish().status == 0 && sent.status == 0
    }
}
