import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { deferred } from '../lib/deferred.ts';
import { createHttpApp, type HttpApp } from './app.ts';
import { makeCertificate, type TestCertificate } from './testing/certificate.ts';
import { createFakeDeps, type FakeDeps } from './testing/fake-deps.ts';

let dir: string;
let first: TestCertificate;
let deps: FakeDeps;
let app: HttpApp | undefined;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'wf-tls-'));
  first = await makeCertificate(dir, 'first');
  deps = createFakeDeps();
});
afterEach(async () => {
  await app?.close();
  app = undefined;
  rmSync(dir, { recursive: true, force: true });
});

async function start(onChange?: () => void): Promise<number> {
  const tls = { certFile: first.certFile, keyFile: first.keyFile, intervalMs: 20, ...(onChange && { onChange }) };
  app = await createHttpApp({ host: '127.0.0.1', tls, keepAliveTimeoutMs: 500 }, deps);
  return (await app.listen(0)).port;
}

/** A request that trusts one certificate alone. */
function get(port: number, ca: string): Promise<{ status: number; fingerprint: string }> {
  return new Promise((resolve, reject) => {
    const options = { port, ca, servername: 'worker.example', path: '/execute?name=W1', agent: false };
    https
      .get({ ...options, headers: { host: 'localhost' } }, (reply) => {
        const socket = reply.socket as TLSSocket;
        const fingerprint = socket.getPeerX509Certificate()?.fingerprint256 ?? '';
        reply.resume().once('end', () => resolve({ status: reply.statusCode ?? 0, fingerprint }));
      })
      .once('error', reject);
  });
}

test('calls come over TLS, and the certificate is the one that was given', async () => {
  const port = await start();
  expect(await get(port, first.pem)).toEqual({ status: 200, fingerprint: first.fingerprint });
  expect(app?.certificate).toBe(first.fingerprint);
});

test('a changed certificate is used for new connections, without a restart', async () => {
  const changed = deferred<void>();
  const port = await start(() => changed.resolve());
  const second = await makeCertificate(dir, 'second');
  // One file after the other: in between the two do not belong together, and that does no harm.
  copyFileSync(second.certFile, first.certFile);
  copyFileSync(second.keyFile, first.keyFile);
  await changed.promise;
  expect(await get(port, second.pem)).toEqual({ status: 200, fingerprint: second.fingerprint });
  await expect(get(port, first.pem)).rejects.toThrow(/self-signed certificate/);
  expect(app?.certificate).toBe(second.fingerprint);
});

test('a certificate that is broken later changes nothing, and is in the log', async () => {
  const warned = deferred<Record<string, unknown>>();
  deps.logger.warn = (fields) => warned.resolve({ ...fields });
  const port = await start();
  writeFileSync(first.certFile, 'no certificate');
  expect(await warned.promise).toMatchObject({ reason: expect.stringMatching(/no certificate and its key/) });
  expect((await get(port, first.pem)).fingerprint).toBe(first.fingerprint);
});

test('plain HTTP on the port is cut off, and does no harm', async () => {
  const port = await start();
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.on('data', (data) => (received += data.toString('latin1'))).on('error', () => undefined);
  socket.write('GET /execute?name=W1 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await new Promise((resolve) => {
    socket.once('close', resolve);
  });
  expect(received).not.toContain('HTTP/');
  expect(deps.invocations).toEqual([]);
  expect((await get(port, first.pem)).status).toBe(200);
});

test('TLS 1.1 is refused', async () => {
  const port = await start();
  const options = {
    port,
    ca: first.pem,
    servername: 'worker.example',
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1',
  } as const;
  const socket = tlsConnect({ ...options, ciphers: 'DEFAULT@SECLEVEL=0' });
  const error = await new Promise<Error>((resolve, reject) => {
    socket.once('error', resolve).once('secureConnect', () => reject(new Error('it was let in')));
  });
  expect(error.message).toMatch(/protocol version|unsupported protocol|alert/);
});

test.each<[string, (given: TestCertificate) => void, RegExp]>([
  ['a missing file', ({ certFile }) => rmSync(certFile), /TLS_CERT_FILE: '.*' cannot be read \(ENOENT\)/],
  ['a missing key', ({ keyFile }) => rmSync(keyFile), /TLS_KEY_FILE: '.*' cannot be read \(ENOENT\)/],
  ['no certificate', ({ certFile }) => writeFileSync(certFile, 'x'), /these are no certificate and its key/],
])('the start is refused: %s', async (_, spoil, words) => {
  spoil(first);
  await expect(start()).rejects.toThrow(words);
});

test('the start is refused: the key of another certificate', async () => {
  const other = await makeCertificate(dir, 'other');
  copyFileSync(other.keyFile, first.keyFile);
  await expect(start()).rejects.toMatchObject({ code: 'invalid_setting', message: expect.stringMatching(/mismatch/) });
});
