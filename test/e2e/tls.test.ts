import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeCertificate, type TestCertificate } from '../../src/http/testing/certificate.ts';
import { cli, ROOT } from '../support/cli.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { startNginx } from '../support/nginx.ts';

const EXAMPLES = pathToFileURL(join(ROOT, 'examples/functions')).href;
const TOKEN = 'token-of-the-tls-test';

let dir: string;
let certificate: TestCertificate;
let secure: TestDaemon;
let plain: TestDaemon;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'worker-front-tls-'));
  certificate = await makeCertificate(dir, 'first');
  [secure, plain] = await Promise.all([
    startDaemon({
      codeSource: EXAMPLES,
      env: { TLS_CERT_FILE: certificate.certFile, TLS_KEY_FILE: certificate.keyFile, API_TOKEN: TOKEN },
    }),
    startDaemon({ codeSource: EXAMPLES, env: { TRUST_PROXY: '127.0.0.1', ALLOWED_HOSTS: 'worker.example' } }),
  ]);
});
afterAll(async () => {
  await Promise.all([secure?.stop(), plain?.stop()]);
  await rm(dir, { recursive: true, force: true });
});

/** A client that trusts one certificate alone, and knows the server as `worker.example`. */
async function get(url: string, pem: string, headers: Record<string, string> = {}) {
  const checkServerIdentity = () => undefined;
  const dispatcher = new Agent({ connect: { ca: pem, servername: 'worker.example', checkServerIdentity } });
  try {
    const reply = await request(url, { dispatcher, headers: { authorization: `Bearer ${TOKEN}`, ...headers } });
    return { status: reply.statusCode, body: (await reply.body.json()) as Record<string, unknown> };
  } finally {
    await dispatcher.close();
  }
}
const status = (dataDir: string) => cli(['status', '--json'], { env: { DATA_DIR: dataDir, API_TOKEN: TOKEN } });

test('the daemon speaks HTTPS, and says so', async () => {
  expect(secure.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect(await get(`${secure.url}/functions`, certificate.pem)).toMatchObject({ status: 200 });
  await expect(fetch(`${secure.url}/healthz`)).rejects.toThrow(/fetch failed/);
});

test('commands talk to it, before and after its certificate is changed', async () => {
  const reply = await status(secure.dataDir);
  expect(reply, reply.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(reply.stdout)).toMatchObject({ Url: secure.url, Ready: true });
  const second = await makeCertificate(dir, 'second');
  await copyFile(second.certFile, certificate.certFile);
  await copyFile(second.keyFile, certificate.keyFile);
  await secure.logged(({ msg, fingerprint }) => msg === 'new TLS certificate' && fingerprint === second.fingerprint);
  expect(await get(`${secure.url}/functions`, second.pem)).toMatchObject({ status: 200 });
  expect(await status(secure.dataDir)).toMatchObject({ code: 0 });
});

test('commands send the token to nobody but the daemon', async () => {
  const impostor = await makeCertificate(dir, 'impostor');
  const heard: string[] = [];
  const options = { cert: impostor.pem, key: await readFile(impostor.keyFile, 'utf8') };
  const server = createServer(options, (request, reply) => {
    heard.push(request.headers.authorization ?? 'nothing');
    reply.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const other = await mkdtemp(join(tmpdir(), 'worker-front-impostor-'));
  try {
    const facts = JSON.parse(await readFile(join(secure.dataDir, 'daemon.json'), 'utf8')) as object;
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await writeFile(join(other, 'daemon.json'), JSON.stringify({ ...facts, url }));
    const reply = await status(other);
    expect(reply).toMatchObject({ code: 1, stderr: expect.stringMatching(/another certificate than the daemon/) });
    expect(heard).toEqual([]);
  } finally {
    server.close();
    await rm(other, { recursive: true, force: true });
  }
});

test('behind nginx, as documented: calls come through, and the audit log has the address of the client', async () => {
  await using nginx = await startNginx({
    certFile: certificate.certFile,
    keyFile: certificate.keyFile,
    target: plain.url,
  });
  const pem = await readFile(certificate.certFile, 'utf8');
  const url = `https://127.0.0.1:${nginx.port}`;
  const call = (path: string, headers: Record<string, string> = {}) =>
    get(`${url}${path}`, pem, { host: 'worker.example', ...headers });
  expect(await call('/execute?name=echo&a=1')).toMatchObject({
    status: 200,
    body: { Meta: { Environment: 'nodejs20' } },
  });
  await call('/configure?queue_limit=31');
  const line = await plain.logged(({ msg, action }) => msg === 'audit' && action === 'configure');
  expect(line).toMatchObject({ caller: 'anonymous', from: '127.0.0.1', after: { QueueLimit: 31 } });
  // Here client and proxy share an address that is trusted, so that what the client says of others is believed in turn.
  await call('/configure?queue_limit=32', { 'x-forwarded-for': '192.0.2.8' });
  const next = await plain.logged(({ msg, after }) => msg === 'audit' && (after as never)?.['QueueLimit'] === 32);
  expect(next['from']).toBe('192.0.2.8');
  expect(await call('/functions', { host: 'evil.example' })).toMatchObject({
    status: 403,
    body: { Code: 'forbidden' },
  });
  const page = { origin: 'https://evil.example' };
  expect(await call('/functions', page)).toMatchObject({ status: 403, body: { Code: 'forbidden' } });
});
