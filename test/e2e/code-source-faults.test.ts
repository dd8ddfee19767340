import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type Fault, type FaultyProxy, faultyProxy } from '../support/faulty-proxy.ts';
import { startMoto } from '../support/moto.ts';
import type { Body } from '../support/node.ts';
import { serve, staticFiles } from '../support/zip-server.ts';
import { wrappedZipOf } from '../support/zips.ts';

// The network between the daemon and its code source fails, under load. Servers that are sick: sources.test.ts.

/** Seconds. The daemon may wait this long for an answer of the source before it counts as down. */
const SOURCE_TIMEOUT = 1;

/** Too long to get through a connection that is cut. */
const PADDING = randomBytes(4000).toString('base64');
const answering = (text: string) => ({
  'config.json': '{"environment": "nodejs20", "memory": "64MiB"}',
  'index.js': `exports.handle = () => ${JSON.stringify(text)};\n// ${PADDING}\n`,
});

/** A real server with functions. */
interface Place {
  origin: string;
  settings: (proxy: FaultyProxy) => { codeSource: string; env?: Record<string, string> };
  put(name: string, text: string): Promise<void>;
  close(): Promise<void>;
}

async function webServer(): Promise<Place> {
  const files = new Map<string, Buffer>();
  const server = await serve(staticFiles(files));
  return {
    origin: server.origin,
    settings: ({ origin }) => ({ codeSource: `${origin}/` }),
    put: async (name, text) => void files.set(`/${name}.zip`, wrappedZipOf(name, answering(text))),
    close: () => server.close(),
  };
}

async function bucket(): Promise<Place> {
  const moto = await startMoto();
  const { endpoint, owner } = moto;
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: owner });
  await client.send(new CreateBucketCommand({ Bucket: 'functions' }));
  return {
    origin: endpoint,
    settings: ({ origin }) => ({
      codeSource: 's3://functions',
      env: {
        AWS_ENDPOINT_URL_S3: origin,
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: owner.accessKeyId,
        AWS_SECRET_ACCESS_KEY: owner.secretAccessKey,
      },
    }),
    async put(name, text) {
      const Body = wrappedZipOf(name, answering(text));
      await client.send(new PutObjectCommand({ Bucket: 'functions', Key: `${name}.zip`, Body }));
    },
    async close() {
      client.destroy();
      await moto.stop();
    },
  };
}

const FAULTS = ['refuses', 'resets', 'silent', 'cuts', 'delays'] as const satisfies readonly Fault[];

// Beside each other: most of it is waiting.
describe.concurrent.each([
  ['a web server', webServer],
  ['a bucket', bucket],
])('the way to %s', (_title, open) => {
  let place: Place;
  let proxy: FaultyProxy;
  let daemon: TestDaemon;

  async function execute(name: string): Promise<{ status: number; body: Body; retryAfter: string | null }> {
    const reply = await fetch(`${daemon.url}/execute?name=${name}`);
    return { status: reply.status, body: (await reply.json()) as Body, retryAfter: reply.headers.get('retry-after') };
  }

  async function health(): Promise<{ ready: unknown; codeSource: unknown; up: string | undefined }> {
    const ready = (await (await fetch(`${daemon.url}/readyz`)).json()) as { Ready: unknown; CodeSource: unknown };
    const metrics = await (await fetch(`${daemon.url}/metrics`)).text();
    const up = /^worker_front_code_source_up (\d)$/m.exec(metrics)?.[1];
    return { ready: ready.Ready, codeSource: ready.CodeSource, up };
  }

  /** Calls a function one after the other until told to stop; gives how many were served, and what failed. */
  function calling(name: string) {
    const stop = new AbortController();
    let served = 0;
    const failed: unknown[] = [];
    const work = async () => {
      while (!stop.signal.aborted) {
        const { status, body } = await execute(name);
        if (status === 200) served += 1;
        else if (!stop.signal.aborted) failed.push(body);
        // Load, but not both cores of the machine.
        await delay(10);
      }
    };
    const done = Promise.all([work(), work()]);
    return {
      failed,
      get served() {
        return served;
      },
      async [Symbol.asyncDispose]() {
        stop.abort();
        await done;
      },
    };
  }

  beforeAll(async () => {
    place = await open();
    proxy = await faultyProxy(place.origin);
    await place.put('known', 'one');
    // All are there: that the daemon cannot ask must never be taken for that they are not.
    for (const fault of FAULTS) for (let i = 0; i < 8; i++) await place.put(`${fault}-${i}`, fault);
    const { codeSource, env } = place.settings(proxy);
    const own = {
      CODE_SOURCE_TIMEOUT: String(SOURCE_TIMEOUT),
      CODE_CHECK_INTERVAL: '0.1',
      ISOLATION: 'shared',
      FUNCTION_NETWORK: 'none',
    };
    daemon = await startDaemon({ codeSource, env: { ...env, ...own } });
    expect(await execute('known')).toMatchObject({ status: 200, body: { Result: 'one' } });
  });
  afterAll(async () => {
    await proxy?.set('passes');
    await daemon?.stop();
    await proxy?.close();
    await place?.close();
  });

  /** All is well again within seconds: what could not be had can be, and changes are seen. */
  async function expectRecovery(fault: Fault): Promise<void> {
    await proxy.set('passes');
    const began = performance.now();
    await vi.waitFor(async () => expect(await execute(`${fault}-0`)).toMatchObject({ status: 200 }), 15_000);
    await vi.waitFor(async () => {
      expect(await health()).toEqual({ ready: true, codeSource: 'ok', up: '1' });
    }, 15_000);
    await place.put('known', `after ${fault}`);
    await vi.waitFor(async () => expect((await execute('known')).body.Result).toBe(`after ${fault}`), 15_000);
    expect(performance.now() - began).toBeLessThan(15_000);
  }

  test.sequential.each(['refuses', 'resets', 'silent'] as const)(
    '%s connections',
    { timeout: 90_000 },
    async (fault) => {
      await using load = calling('known');
      await proxy.set(fault);
      // The first ones find it out.
      await vi.waitFor(
        async () => {
          const { status, body } = await execute(`${fault}-1`);
          expect({ status, code: body.Code }).toEqual({ status: 502, code: 'code_source_error' });
          expect((await health()).up).toBe('0');
        },
        { timeout: 30_000, interval: 10 },
      );
      expect(await health()).toEqual({ ready: true, codeSource: 'degraded', up: '0' });

      // Those who come now are told at once, and the source is left alone.
      const before = proxy.connections;
      const callsBefore = load.served;
      const began = performance.now();
      for (let i = 0; i < 8; i++) {
        const { status, body, retryAfter } = await execute(`${fault}-${i}`);
        expect({ status, code: body.Code }).toEqual({ status: 502, code: 'code_source_error' });
        expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
      }
      expect(performance.now() - began).toBeLessThan(SOURCE_TIMEOUT * 1000);
      await vi.waitFor(() => expect(load.served - callsBefore).toBeGreaterThan(100), 30_000);
      const seconds = (performance.now() - began) / 1000;
      // Probes at pauses of half a second and more; the client of S3 tries each three times.
      expect(proxy.connections - before).toBeLessThan(8 + seconds * 6);
      await expectRecovery(fault);
      expect(load.failed).toEqual([]);
      expect(load.served).toBeGreaterThan(100);
      expect(daemon.log.filter(({ msg }) => String(msg).startsWith('code source is down')).length).toBeLessThan(6);
    },
  );

  test.sequential('cuts connections in the middle of a download: nothing of it is used', async () => {
    await using load = calling('known');
    await proxy.set('cuts');
    for (let i = 0; i < 4; i++) {
      const { status, body } = await execute(`cuts-${i}`);
      expect({ status, code: body.Code }).toEqual({ status: 502, code: 'code_source_error' });
    }
    await expectRecovery('cuts');
    expect(load.failed).toEqual([]);
  });

  test.sequential('delays everything: it takes longer, and works', async () => {
    await using load = calling('known');
    await proxy.set('delays');
    expect(await execute('delays-1')).toMatchObject({ status: 200, body: { Result: 'delays' } });
    await expectRecovery('delays');
    expect(load.failed).toEqual([]);
  });
});
