import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { createDockerEngine } from '../../src/containers/docker/engine.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import type { Body, Meta } from '../support/node.ts';
import { serve, staticFiles, type TestServer } from '../support/zip-server.ts';
import { wrappedZipOf } from '../support/zips.ts';

/*
 * What clients, functions and buckets of HotFunctions rely on (docs/migrate-from-hotfunctions.md): a bucket as its
 * `_deploy.sh` makes it, its functions, its routes and replies, its variables. The daemon is one that gets its containers
 * from function images, as HotFunctions did.
 */

const PYTHON = `def lambda_handler(event, context):
    return {"statusCode": 200, "body": "Hello from Python"}
`;
const NODE = `exports.handle = async () => {
  await new Promise((resolve) => setTimeout(resolve, 5));
  return { statusCode: 201, body: 'Hello from Node.js' };
};
`;
const JAVA = `package main;

import com.google.gson.Gson;
import java.util.List;
import lalb.Response;

public class Main {
  public static Response lambda_handler() {
    return new Response(200, new Gson().toJson(List.of("Hello", "from Java")));
  }
}
`;

const FUNCTIONS: Record<string, Record<string, string>> = {
  W1: { 'config.json': '{ "environment": "python3.8" }', 'main.py': PYTHON },
  w1: {
    'config.json': '{"environment":"nodejs12"}',
    'index.js': "exports.handle = () => ({ statusCode: 200, body: '' });\n",
  },
  W2: { 'config.json': '{ "environment": "nodejs12" }', 'index.js': NODE },
  My_Java_3: { 'config.json': '{ "environment": "java8" }', 'main/Main.java': JAVA },
};
const CALLS = [
  ['W1', 'python3.11', { statusCode: 200, body: 'Hello from Python' }],
  ['W2', 'nodejs20', { statusCode: 201, body: 'Hello from Node.js' }],
  ['My_Java_3', 'java17', { statusCode: 200, body: '["Hello","from Java"]' }],
] as const;

/** The bucket: a prefix that is joined with `<name>.zip` and `lists.txt` as it is. */
const files = new Map<string, Buffer>();
const engine = createDockerEngine();
let bucket: TestServer;
let daemon: TestDaemon;

beforeAll(async () => {
  for (const [name, entries] of Object.entries(FUNCTIONS))
    files.set(`/bucket/fn-${name}.zip`, wrappedZipOf(name, entries));
  files.set('/bucket/fn-lists.txt', Buffer.from('W1\nW2\nMy_Java_3\n'));
  bucket = await serve(staticFiles(files));
  daemon = await startDaemon({
    codeSource: '',
    env: { USER_FUNCTION_URL_PREFIX: `${bucket.origin}/bucket/fn-`, STEM_SANDBOXES: '0', USING_REST_MODE: 'false' },
  });
});

afterAll(async () => {
  await daemon?.stop();
  await bucket?.close();
  await engine.close();
});

async function call(path: string, init: RequestInit = {}) {
  const reply = await fetch(`${daemon.url}${path}`, init);
  const text = await reply.text();
  return { status: reply.status, type: reply.headers.get('content-type'), text };
}

async function json(path: string, init?: RequestInit): Promise<Body & { Meta: Meta }> {
  return JSON.parse((await call(path, init)).text) as Body & { Meta: Meta };
}

test('the port', () => {
  expect(loadConfig({ env: {}, flags: { CODE_SOURCE: 'file:///' } }).http).toMatchObject({ port: 8222 });
});

describe('/execute', () => {
  test.each(CALLS)(
    'runs %s: zip with a top folder, old environment, old handler',
    async (name, environment, result) => {
      const first = await json(`/execute?name=${name}`);
      expect(first).toMatchObject({
        Result: result,
        Meta: {
          ImageBuilt: true,
          UsingPooledContainer: false,
          UsingExistingRestContainer: false,
          Environment: environment,
        },
      });
      const second = await json(`/execute?name=${name}`);
      expect(second).toMatchObject({ Result: result, Meta: { ImageBuilt: false } });
      expect(bucket.requests.filter((request) => request === `GET /bucket/fn-${name}.zip`)).toHaveLength(1);
    },
  );

  test('answers with the old keys first, in their order and with their types', async () => {
    const { status, type, text } = await call('/execute?name=W1');
    expect({ status, type }).toEqual({ status: 200, type: 'application/json; charset=utf-8' });
    expect(text).toMatch(
      new RegExp(
        '^\\{"Result":\\{"statusCode": ?200, ?"body": ?"Hello from Python"\\},"ExecutionTime":\\d+,"InternalExecutionTime":\\d+,' +
          '"Meta":\\{"ImageBuilt":false,"UsingPooledContainer":false,"UsingExistingRestContainer":false,' +
          '"ContainerName":"hf_w1__\\d{5}_\\d{5}","ImageName":"hf_w1",',
      ),
    );
  });

  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('takes %s', async (method) => {
    expect((await call('/execute?name=W1', { method })).status).toBe(200);
  });

  test('says that the name is missing in the old words', async () => {
    expect(await json('/execute')).toMatchObject({ Error: true, Message: "param 'name' is not given" });
  });

  test('names that differ only in case have images of their own', async () => {
    const { Meta: meta } = await json('/execute?name=w1');
    expect(meta.ImageName).toMatch(/^hf_w1-[0-9a-f]{6}$/);
    expect((await json('/execute?name=W1')).Meta.ImageName).toBe('hf_w1');
  });

  test('finds a function that came after it was asked for', async () => {
    expect((await call('/execute?name=Late')).status).toBe(404);
    files.set('/bucket/fn-Late.zip', wrappedZipOf('Late', FUNCTIONS.W1!));
    // A missing name is remembered for a second.
    await vi.waitFor(async () => expect((await call('/execute?name=Late')).status).toBe(200), 20_000);
  });
});

test('other paths', async () => {
  const reply = await call('/Execute?name=W1');
  expect(reply.status).toBe(404);
  expect(reply.text).toMatch(/^\{"Error":true,"Code":"route_not_found","Message":"404 Not found on given path"/);
});

describe('/configure', () => {
  test('shows the old fields first, with their types', async () => {
    const { text } = await call('/configure');
    expect(text).toMatch(
      /^\{"Message":"nothing changed","State":\{"UserCodeSizeLimit":-1,"ContainerPoolLimit":-1,"ContainerPoolNum":6,"UsingRestMode":false,"RestContainerLifeTime":10[,}]/,
    );
  });

  test('changes by the old query names, and only what is meant', async () => {
    const query =
      'user_code_size_limit=100000000&container_pool_num=2&rest_container_life_time=60&using_rest_mode=true';
    expect(await json(`/configure?${query}`)).toMatchObject({
      Message: 'configure changed',
      State: {
        UserCodeSizeLimit: 100_000_000,
        ContainerPoolLimit: -1,
        ContainerPoolNum: 2,
        UsingRestMode: true,
        RestContainerLifeTime: 60,
      },
    });
    expect(await json(`/configure?${query}`)).toMatchObject({ Message: 'nothing changed' });
    expect(await call('/configure?container_pool_num=x')).toMatchObject({ status: 400 });
  });

  test('REST mode keeps one container by the old name, and the image of the old name', async () => {
    const first = await json('/execute?name=W1');
    const second = await json('/execute?name=W1');
    expect(first.Meta).toMatchObject({ UsingExistingRestContainer: false, ImageBuilt: false });
    expect(second.Meta).toMatchObject({
      UsingExistingRestContainer: true,
      ContainerName: first.Meta.ContainerName,
      ImageName: 'hf_w1',
    });
    const running = await daemon.containers();
    expect(running.map(({ name }) => name)).toContain(first.Meta.ContainerName);
    const images = await engine.listImages({ 'io.worker-front.node': daemon.node });
    const tags = images.flatMap((image) => image.tags);
    const version = first.Meta.FunctionVersion;
    expect(tags.filter((tag) => tag.startsWith('hf_w1:'))).toEqual([
      expect.stringMatching(`^hf_w1:${version.slice(0, 8)}`),
    ]);
  });
});

describe('/clear and /prepare', () => {
  test('clear answers with the old text and removes containers', async () => {
    expect(await call('/clear')).toMatchObject({ status: 200, text: 'done; reset_images=false' });
    expect(await daemon.containers()).toEqual([]);
    expect((await json('/execute?name=W1')).Meta.ImageBuilt).toBe(false);
  });

  test('clear with reset_images removes images', async () => {
    expect(await call('/clear?reset_images=true')).toMatchObject({ status: 200, text: 'done; reset_images=true' });
    expect(await engine.listImages({ 'io.worker-front.node': daemon.node })).toEqual([]);
  });

  test('prepare builds all of lists.txt', async () => {
    expect(await call('/prepare', { method: 'POST' })).toMatchObject({ status: 200, text: 'done' });
    expect(bucket.requests).toContain('GET /bucket/fn-lists.txt');
    for (const [name] of CALLS) expect((await json(`/execute?name=${name}`)).Meta.ImageBuilt).toBe(false);
  });

  test('prepare of a name that is in the list and nowhere else is an error', async () => {
    files.set('/bucket/fn-lists.txt', Buffer.from('W1\nGone\n'));
    const reply = await call('/prepare');
    expect(reply.status).toBe(404);
    expect(JSON.parse(reply.text)).toMatchObject({ Error: true, Code: 'function_not_found' });
  });
});
