import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claimDataDir, publishFacts } from '../lib/data-dir.ts';
import { status } from './status.ts';

const READY = {
  Ready: true,
  ShuttingDown: false,
  Engine: { Ok: true, Version: '27.1', Problem: null },
  CodeSource: 'ok',
  Warnings: ['open to all'],
};
const FUNCTIONS = {
  Functions: [
    { Name: 'hello', Version: '0123456789abcdef', Environment: 'python3.11', State: 'ready' },
    { Name: 'new', Version: null, Environment: null, State: 'known' },
  ],
  Next: null,
};

type Answer = { code: number; body: unknown };
let dir: string;
let server: Server;
let answers: Record<string, Answer>;
let requests: IncomingMessage[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'worker-front-status-'));
  requests = [];
  answers = { '/readyz': { code: 200, body: READY }, '/functions': { code: 200, body: FUNCTIONS } };
  server = createServer(answer);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  claimDataDir(dir);
  publishFacts(dir, { url: `http://127.0.0.1:${port}`, node: 'node1', version: '1.2.3' });
});
afterEach(async () => {
  rmSync(dir, { recursive: true, force: true });
  await new Promise((resolve) => {
    server.close(resolve);
  });
});

function answer(request: IncomingMessage, response: ServerResponse): void {
  requests.push(request);
  const { code, body } = answers[(request.url ?? '').split('?')[0] ?? ''] ?? { code: 404, body: {} };
  response.writeHead(code, { connection: 'close' });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

async function printed(more: { token?: string; json?: boolean } = {}): Promise<string> {
  const lines: string[] = [];
  await status({ dataDir: dir, token: more.token, json: more.json ?? false, print: (line) => void lines.push(line) });
  return lines.join('\n');
}

describe('status', () => {
  it('says where the daemon is, how it is, and what it has', async () => {
    const text = await printed();
    expect(text).toMatch(
      new RegExp(`^worker-front 1.2.3 is running at http://127.0.0.1:\\d+ \\(pid ${process.pid}, node node1\\)$`, 'm'),
    );
    expect(text).toContain('ready: yes   engine: Docker 27.1   code source: ok');
    expect(text).toContain('warning: open to all');
    expect(text).toMatch(/hello .* ready .* python3\.11 .* 0123456789ab /);
    expect(text).toMatch(/new .* known /);
  });

  it('sends the token', async () => {
    await printed({ token: 'hunter2' });
    expect(requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer hunter2', 'Bearer hunter2']);
    requests.length = 0;
    await printed();
    expect(requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
  });

  it('is one JSON value when that is asked for', async () => {
    expect(JSON.parse(await printed({ json: true }))).toMatchObject({
      Pid: process.pid,
      Ready: true,
      Engine: { Version: '27.1' },
      Functions: [{ Name: 'hello' }, { Name: 'new' }],
    });
  });

  it('says why a node is not ready', async () => {
    const engine = { Ok: false, Version: null, Problem: 'Docker does not answer' };
    const details = { ...READY, Ready: false, Engine: engine, Warnings: [] };
    answers['/readyz'] = {
      code: 503,
      body: { Error: true, Code: 'engine_unavailable', Message: 'x', Details: details },
    };
    expect(await printed()).toContain('ready: no   engine: Docker does not answer   code source: ok');
  });

  it('shows how the daemon is also when it cannot list the functions', async () => {
    answers['/readyz'] = { code: 200, body: { ...READY, CodeSource: 'degraded' } };
    answers['/functions'] = {
      code: 502,
      body: { Error: true, Code: 'code_source_error', Message: 'the bucket is down' },
    };
    const text = await printed();
    expect(text).toContain('code source: degraded');
    expect(text).toContain('functions: the bucket is down');
    expect(JSON.parse(await printed({ json: true }))).toMatchObject({ Ready: true, Problem: 'the bucket is down' });
  });

  it('passes on what a daemon says that refuses', async () => {
    answers['/functions'] = { code: 403, body: { Error: true, Code: 'forbidden', Message: 'not for you' } };
    await expect(printed()).rejects.toThrow(/^not for you$/);
  });

  it('says how to give a token, where the daemon speaks of headers', async () => {
    answers['/functions'] = { code: 401, body: { Error: true, Code: 'unauthorized', Message: 'send a header' } };
    await expect(printed()).rejects.toThrow("the node asks for a token: set API_TOKEN to one with the role 'read'");
    await expect(printed({ token: 'x' })).rejects.toThrow(/^API_TOKEN is no token of this node: set API_TOKEN/);
  });

  it.each([
    ['answers something else', { code: 200, body: '<html>' }],
    ['answers nothing', { code: 200, body: '' }],
  ])('fails when a daemon %s', async (_what, readyz) => {
    answers['/readyz'] = readyz;
    await expect(printed()).rejects.toThrow(new RegExp(`the daemon \\(pid ${process.pid}\\) does not answer`));
  });

  it('fails when nobody listens', async () => {
    publishFacts(dir, { url: 'http://127.0.0.1:1', node: 'node1', version: '1.2.3' });
    await expect(printed()).rejects.toThrow(/does not answer: .*(ECONNREFUSED|bad port)/);
  });
});
