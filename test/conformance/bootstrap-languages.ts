/** What the suite of bootstraps knows about each language beside the common table of behaviours. */
export interface Language {
  name: 'python' | 'nodejs' | 'java';
  environment: string;
  /** `handler` strings of the handlers that misbehave while loading. */
  handlers: Record<'throws' | 'exits' | 'dies' | 'hangs' | 'missingModule' | 'missingFunction', string>;
  /** What `fail` throws. */
  errorType: string;
  /** A line of its trace. */
  traceLine: RegExp;
  /** What must not be in a trace: the runtime's own frames. */
  ownFrames: RegExp;
  /** How `dies` ends. */
  death: { signal: string } | { exitCode: number };
  /** How a process ends that does not handle SIGTERM. */
  terminated: { signal: string } | { exitCode: number };
  /** What the names of things that are not there look like in the message. */
  missing: { module: RegExp; function: RegExp };
}

export const LANGUAGES: Record<Language['name'], Language> = {
  python: {
    name: 'python',
    environment: 'python3.11',
    handlers: {
      throws: 'throws.handler',
      exits: 'exits.handler',
      dies: 'dies.handler',
      hangs: 'hangs.handler',
      missingModule: 'nothing.handler',
      missingFunction: 'main.nothing',
    },
    errorType: 'ValueError',
    traceLine: /main\.py", line \d+, in deep/,
    ownFrames: /bootstrap\.py|importlib/,
    death: { signal: 'SIGKILL' },
    terminated: { signal: 'SIGTERM' },
    missing: { module: /nothing/, function: /nothing/ },
  },
  nodejs: {
    name: 'nodejs',
    environment: 'nodejs20',
    handlers: {
      throws: 'throws.handler',
      exits: 'exits.handler',
      dies: 'dies.handler',
      hangs: 'hangs.handler',
      missingModule: 'nothing.handler',
      missingFunction: 'index.nothing',
    },
    errorType: 'TypeError',
    traceLine: /at deep .*index\.cjs:\d+/,
    ownFrames: /bootstrap\.cjs|invocation\.cjs|handler\.cjs/,
    death: { signal: 'SIGKILL' },
    terminated: { signal: 'SIGTERM' },
    missing: { module: /nothing/, function: /nothing/ },
  },
  java: {
    name: 'java',
    environment: 'java17',
    handlers: {
      throws: 'main.Throws.handle()',
      exits: 'main.Exits.handle()',
      dies: 'main.Dies.handle()',
      hangs: 'main.Hangs.handle()',
      missingModule: 'main.Nothing.handle()',
      missingFunction: 'main.Main.nothing()',
    },
    errorType: 'java.lang.IllegalStateException',
    traceLine: /at main\.Main\.deep\(Main\.java:\d+\)/,
    ownFrames: /workerfront\./,
    death: { exitCode: 9 },
    terminated: { exitCode: 143 },
    missing: { module: /Nothing/, function: /nothing/ },
  },
};
