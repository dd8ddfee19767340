import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeContext } from '../conformance/engine-fixtures.ts';
import { type Attempts, PROBE } from '../support/network-probe.ts';
import { nodejs, python, type TestNode } from '../support/node.ts';
import { allAre, type WalledNodes, walledNodes } from '../support/walled-nodes.ts';
import type { ZipEntries } from '../support/zip.ts';

// From inside image builds: what they reach, and what not. `network-walls.test.ts` looks from inside functions.

const docker = new Docker();
let nodes: WalledNodes;
let open: TestNode;
let narrow: TestNode;

beforeAll(async () => {
  nodes = await walledNodes();
  ({ open, narrow } = nodes);
});
afterAll(() => nodes?.[Symbol.asyncDispose]());

describe('an image build', () => {
  const BUILDS = ['the daemon', 'the daemon at the gateway', 'a service', 'metadata', 'private', 'internet'];
  const some = () => Object.fromEntries(BUILDS.map((name) => [name, nodes.targets()[name]]));

  it("does not reach this machine or metadata from a package's setup.py", async () => {
    await open.source.put('setup', {
      'config.json': '{"environment": "python3.11"}',
      'main.py': 'import outcome\ndef lambda_handler(event, context):\n    return outcome.REACHED\n',
      'requirements.txt': './package\n',
      'package/setup.py': `${PROBE}
from setuptools import setup
with open('outcome.py', 'w') as out:
    out.write('REACHED = ' + repr(probe(${JSON.stringify(some())})))
setup(name='outcome', version='1.0', py_modules=['outcome'])
`,
    });
    const { result } = await open.ok<Attempts>('setup');
    expect(result).toEqual({ ...allAre('refused', BUILDS), ...allAre('open', ['private', 'internet']) });
  });

  it("does not reach this machine or metadata from npm's install script, and with FUNCTION_NETWORK=public no private network", async () => {
    const bundle = (): ZipEntries => ({
      ...nodejs("exports.handler = async () => require('./outcome.json')"),
      'package.json': JSON.stringify({ name: 'f', version: '1.0.0', scripts: { install: 'node try.js' } }),
      'try.js': `
const net = require('node:net'), fs = require('node:fs');
const gateway = fs.readFileSync('/proc/net/route', 'utf8').split('\\n').map((line) => line.split('\\t'))
  .find(([, to]) => to === '00000000')[2].match(/../g).reverse().map((byte) => parseInt(byte, 16)).join('.');
const attempt = ([host, port]) => new Promise((resolve) => {
  const socket = net.connect({ host: host === 'gateway' ? gateway : host, port, timeout: 4000 });
  socket.on('connect', () => { socket.destroy(); resolve('open'); });
  socket.on('timeout', () => { socket.destroy(); resolve('timeout'); });
  socket.on('error', ({ code }) => resolve(code === 'ECONNREFUSED' ? 'refused' : code));
});
const targets = ${JSON.stringify(some())};
Promise.all(Object.values(targets).map(attempt)).then((results) => {
  fs.writeFileSync('outcome.json', JSON.stringify(Object.fromEntries(Object.keys(targets).map((name, i) => [name, results[i]]))));
});
`,
    });
    await Promise.all([open.source.put('install', bundle()), narrow.source.put('install', bundle())]);
    const outbound = await open.ok<Attempts>('install');
    expect(outbound.result).toEqual({ ...allAre('refused', BUILDS), ...allAre('open', ['private', 'internet']) });
    const walled = await narrow.ok<Attempts>('install');
    // On the allow list of this node.
    expect(walled.result).toEqual({ ...allAre('refused', BUILDS), ...allAre('open', ['a service', 'internet']) });
  });

  const own = (...lines: string[]): ZipEntries => ({
    ...python('def lambda_handler(event, context):\n    return 1\n'),
    Dockerfile: ['ARG RUNTIME_IMAGE', 'FROM ${RUNTIME_IMAGE}', ...lines, 'COPY . /function/code/', ''].join('\n'),
  });

  it.each([
    ['plain', (url: string) => `ADD ${url}/functions /function/code/`],
    ['escaped', (url: string) => `ADD ${url.replace(':/', ':\\/')}/functions /function/code/`],
    ['quoted', (url: string) => `ADD ${url.replace('//', '""//')}/functions /function/code/`],
    ['as JSON', (url: string) => `ADD ["${url.replace('/', '\\u002f')}/functions", "/function/code/"]`],
    ['behind strange space', (url: string) => `\u0085ADD ${url}/functions /function/code/`],
  ])('does not make the engine itself fetch anything: an address that is %s', async (how, add) => {
    const name = `add-${how.replaceAll(' ', '-')}`;
    await open.source.put(name, own(add(open.daemon.url)));
    const { status, body } = await open.call(name);
    expect([status, body.Code]).toEqual([422, 'invalid_function']);
    expect(body.Message).toContain('ADD takes files of the function only');
  });

  it('does not make the engine hand over the files of another function', async () => {
    const name = `victim-${Date.now()}`;
    await open.source.put(name, own());
    await open.ok(name);
    const [victim] = await docker.listImages({ filters: { label: [`io.worker-front.function=${name}`] } });
    const id = victim?.Id.replace('sha256:', '') ?? '';
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    const ways = [`COPY --from=${id.slice(0, 8)}`, `COPY --from=sha256:${id}`, `COPY --from=${victim?.RepoTags?.[0]}`];
    for (const [i, way] of ways.entries()) {
      await open.source.put(`thief-${i}`, own(`${way} /function/code/ /function/code/`));
      const { status, body } = await open.call(`thief-${i}`);
      expect([status, body.Code]).toEqual([422, 'invalid_function']);
      expect(body.Message).toContain('no image of another function');
    }
  });

  it('does not make the engine follow instructions that an image brings', async () => {
    const image = `worker-front-test-onbuild:${Date.now()}`;
    const dockerfile = `FROM scratch\nLABEL x=y\nONBUILD ADD ${open.daemon.url}/functions /x\n`;
    const output = await docker.buildImage(makeContext({ Dockerfile: dockerfile }), { t: image });
    for await (const line of output) expect(String(line)).not.toContain('"error"');
    try {
      await open.source.put('onbuild', own(`FROM ${image} AS x`, 'FROM ${RUNTIME_IMAGE}'));
      const { status, body } = await open.call('onbuild');
      expect([status, body.Code]).toEqual([422, 'invalid_function']);
      expect(body.Message).toContain('ONBUILD');
    } finally {
      await docker.getImage(image).remove();
    }
  });
});
