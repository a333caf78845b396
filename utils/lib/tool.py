# SPDX-License-Identifier: MIT
"""What the project's Python commands share: exit codes after sysexits, errors for people, whole files or none."""
import argparse
import os
import signal
import sys
import tempfile

if sys.version_info < (3, 11):
    sys.stderr.write(f"{os.path.basename(sys.argv[0])}: needs Python 3.11 or newer; Debian 12 has it\n")
    sys.exit(69)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
USAGE, WRONG_DATA, NO_INPUT, UNAVAILABLE, SYSTEM, CANNOT_CREATE, IO, NO_PERMISSION = 64, 65, 66, 69, 71, 73, 74, 77


class Problem(Exception):
    """An error that ends a command: a message for people (what, where, what to do) and an exit code."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Parser(argparse.ArgumentParser):
    """An argument parser that exits as the other tools do."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message):
        self.exit(USAGE, f"{self.prog}: {message}; {self.prog} --help shows what there is\n")


def run(name, main):
    """Runs `main` and turns what it raises into an exit status."""
    try:
        status = main()
        sys.stdout.flush()
    except Problem as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        status = problem.status
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain about that once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = IO
    except OSError as error:
        print(f"{name}: {error.filename or 'standard output'}: {error.strerror}", file=sys.stderr)
        status = IO
    sys.exit(status)


def folder(path, option):
    """Makes the folder `path`, which `option` names, and its parents, and checks that files can be made there."""
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise Problem(
            CANNOT_CREATE, f"cannot write to {path}: {error.strerror}; choose another with {option}") from None


def replace(path, text):
    """Puts `text` into the file `path`: whole, or not at all."""
    try:
        with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", newline="", dir=os.path.dirname(path) or ".", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise Problem(CANNOT_CREATE, f"cannot write {path}: {error.strerror}") from None
