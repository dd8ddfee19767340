/**
 * One suite for every bootstrap (init + runtime), as a plain process and in its container.
 *
 * ## What a language brings: `test/conformance/handlers/<language>/`
 *
 * `<language>` is `python`, `nodejs` or `java`. The folder is a function's code (`/function/code`), read-only; what must
 * be compiled is (into `/function/classes`, for Java) by the launcher. It has the environment's default handler with these behaviours,
 * chosen by the event's `do`. "Prints" means the language's own print (`print`, `console.log`/`process.stdout.write`, `System.out`);
 * all text without a newline added unless the event has it.
 *
 * | `do` | other keys | behaviour |
 * |---|---|---|
 * | `echo` | `value` | returns `value` |
 * | `context` | `env` (a name) | returns `{id, function, version, memoryMB, remainingMs, cwd, env}`, the first five from `context` under the language's own AWS names, `env` the variable's value or null |
 * | `fail` | `message` | throws (`ValueError`, `TypeError`, `java.lang.IllegalStateException`) from a function called `deep` |
 * | `exit` | `code` | prints `leaving\n`, then ends the process with that code by the language's own call |
 * | `print` | `stdout`, `stderr` | prints both, the first to stdout, the second to stderr, not flushed by hand; returns null |
 * | `lines` | `count` | prints `line <i>\n` for i from 0 to stdout; returns `count` |
 * | `native` | `text` | writes to file descriptor 1 past the language's buffers; returns null |
 * | `child` | `command` | runs `/bin/sh -c command` with inherited stdin, stdout, stderr, waits, returns its exit code |
 * | `stdin` | - | reads stdin to its end, returns the text |
 * | `hang` | - | prints `hanging\n`, flushes, never returns |
 * | `spin` | - | prints `spinning\n`, flushes, then burns CPU in the handler's own thread without end |
 * | `tidy` | - | prints `working\n`, flushes, never returns; at SIGTERM it prints `tidied\n`, flushes, and ends its process |
 * | `deaf` | - | prints `deaf\n`, flushes, never returns, and does not end at SIGTERM |
 * | `sleep` | `ms`, `value` | prints `begin <value>\n`, waits without blocking other invocations, prints `end <value>\n`, returns `value` |
 * | `link` | `base64` | writes these bytes to file descriptor 3 (the link) in one write; returns null |
 * | `closeLink` | - | closes file descriptor 3, then sleeps for ever |
 * | `unwritable` | - | returns something that cannot be written as JSON (a set, a BigInt, an object that refers to itself) |
 * | `big` | `bytes` | returns a string of that many `x` |
 * | `memory` | - | takes memory of the language's heap without end, keeping it |
 * | `state` | `name` | adds 1 to a global, sets the environment variable `LEFT`, creates `/tmp/<name>` (`WORKER_FRONT_TMP` in place of `/tmp` when set); returns `{count, pid, left: value of LEFT before, files: names in that folder before}` |
 *
 * And handlers that misbehave while loading, by their `handler` string (`Language.handlers`):
 *
 * | name | behaviour |
 * |---|---|
 * | `throws` | throws while loading, message `broken at load` |
 * | `exits` | prints `going\n`, then exits with code 7 while loading |
 * | `dies` | writes `last words\n` to stderr, then kills itself with SIGKILL while loading (Java: `Runtime.halt(9)`) |
 * | `hangs` | prints `waiting\n`, flushes, and never ends loading |
 * | `missingModule` | names a module / file / class that is not there |
 * | `missingFunction` | names an existing module without that function |
 */
import { describe } from 'vitest';
import { describeCalls } from './bootstrap-calls.ts';
import { describeChannel } from './bootstrap-channel.ts';
import { describeFaults } from './bootstrap-faults.ts';
import { BootstrapFixture, type Launcher } from './bootstrap-fixture.ts';
import { describeIsolation } from './bootstrap-isolation.ts';
import type { Language } from './bootstrap-languages.ts';

/** Registers the suite for one language; `launcher` is called when the first test runs. */
export function describeBootstrap(language: Language, launcher: () => Launcher): void {
  const makeFixture = () => new BootstrapFixture(launcher());
  describe(`bootstrap of ${language.environment}`, () => {
    describeCalls(language, makeFixture);
    describeFaults(language, makeFixture);
    describeIsolation(language, makeFixture);
    describeChannel(makeFixture);
  });
}
