import pino, { type DestinationStream, type Logger as PinoLogger } from 'pino';
import type { Logger } from '../lib/logger.ts';
import { type LogFileOptions, openLogFile } from './log-file.ts';
import { openStdoutLog } from './stdout-log.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export interface LogOptions {
  level: LogLevel;
  /** A rotated file, or undefined for stdout. */
  file?: LogFileOptions;
}

/** The daemon's log: one JSON object per line. Parts get children (`log.logger.child({ component: 'pool' })`). */
export interface Log {
  readonly logger: Logger;
  /** For changes by administrators: its lines are written whatever the level of the log is. */
  readonly audit: Logger;
  /** Writes what waits; synchronous. Called by itself when the process exits in an orderly way. */
  flush(): void;
  /** Flushes and closes. Idempotent; lines of later calls are dropped. */
  close(): void;
  [Symbol.dispose](): void;
}

/** Fields whose value never reaches the log, wherever one of the usual spellings stands in a line or one level below. */
const SECRETS = ['authorization', 'apiToken', 'apiTokens', 'token', 'tokens', 'password', 'secret'];
const REDACTED = [...SECRETS, ...SECRETS.map((name) => `headers.${name}`), ...SECRETS.map((name) => `config.${name}`)];

/** Opens the log. Rejects with Node's error when the file cannot be written. */
export function createLog(options: LogOptions): Log {
  const target = options.file
    ? openLogFile(options.file)
    : openStdoutLog({ delayMs: process.stdout.isTTY ? 0 : undefined });
  const logger = createLogger(options.level, target);
  const onExit = () => target.flush();
  process.once('exit', onExit);
  const close = () => {
    process.off('exit', onExit);
    target.close();
  };
  const audit = logger.child({ part: 'audit' }, { level: 'info' });
  return { logger, audit, flush: () => target.flush(), close, [Symbol.dispose]: close };
}

/** A pino logger in the project's form: level names, ISO time, secrets removed. */
export function createLogger(level: LogLevel, stream: DestinationStream): PinoLogger {
  return pino(
    {
      level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACTED, censor: '[redacted]' },
      serializers: { err: pino.stdSerializers.err },
    },
    stream,
  );
}
