import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:https';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { watchFiles } from '../lib/watch-files.ts';

export interface TlsOptions {
  /** PEM with the certificate, and behind it those of the authorities in between. */
  certFile: string;
  /** PEM with its private key. */
  keyFile: string;
  /** Called when the files have changed and are used. */
  onChange?: () => void;
  /** Milliseconds between looks at the files; 500 when left out. */
  intervalMs?: number;
}

/** Certificate and key as they are on disk now. */
export interface KeyPair {
  options: SecureContextOptions;
  /** SHA-256 of the certificate, as hexadecimal bytes with colons. */
  fingerprint: string;
}

/** Rejects with `invalid_setting` when a file cannot be read, is wrong, or the two do not belong together. */
export function readKeyPair({ certFile, keyFile }: TlsOptions): KeyPair {
  const cert = read('TLS_CERT_FILE', certFile);
  const key = read('TLS_KEY_FILE', keyFile);
  const options: SecureContextOptions = { cert, key, minVersion: 'TLSv1.2' };
  try {
    createSecureContext(options);
    return { options, fingerprint: new X509Certificate(cert).fingerprint256 };
  } catch (cause) {
    const message = `TLS_CERT_FILE and TLS_KEY_FILE: these are no certificate and its key (${messageOf(cause)})`;
    throw new WorkerFrontError('invalid_setting', message, { cause });
  }
}

function read(setting: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const message = `${setting}: '${path}' cannot be read (${systemCode(cause) ?? messageOf(cause)})`;
    throw new WorkerFrontError('invalid_setting', message, { cause });
  }
}

/** The certificate that is in use. */
export interface Certificate {
  /** See `KeyPair`. */
  readonly fingerprint: string;
  close(): void;
}

/**
 * Gives new connections the certificate that is on disk; those there are keep theirs. Of two files, one is written first:
 * a pair that does not belong together is looked at again when the other has changed.
 */
export function createCertificate(server: Server, tls: TlsOptions, logger: Logger): Certificate {
  let { fingerprint } = readKeyPair(tls);
  const reread = () => {
    try {
      const pair = readKeyPair(tls);
      server.setSecureContext(pair.options);
      fingerprint = pair.fingerprint;
      logger.info({ fingerprint }, 'new TLS certificate');
      tls.onChange?.();
    } catch (error) {
      logger.warn({ reason: messageOf(error) }, 'the changed TLS certificate cannot be used: the one before goes on');
    }
  };
  const watch = watchFiles([tls.certFile, tls.keyFile], reread, tls.intervalMs);
  return {
    get fingerprint() {
      return fingerprint;
    },
    close: () => watch.close(),
  };
}
