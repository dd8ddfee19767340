import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { LANGUAGES } from '../support/blame-table.ts';
import { misbehavingNode } from '../support/misbehaving-node.ts';
import { eventually, NO_NETWORK } from '../support/node.ts';
import type { ZipEntries } from '../support/zip.ts';

// What must not be blamed on a call: kills for memory before it, and words of another call. And who has to share the blame.

const MANIFESTS = {
  process: { isolation: 'process' },
  shared: { isolation: 'shared' },
  talkative: { isolation: 'shared' },
  several: { isolation: 'shared', concurrency: 4 },
  parents: { isolation: 'shared', concurrency: 4 },
};

const at = misbehavingNode((language, misbehave) => {
  const functions: Record<string, ZipEntries> = {};
  for (const [name, manifest] of Object.entries(MANIFESTS)) {
    functions[`${name}-${language}`] = misbehave(language, { ...manifest, memory: '192MiB', ...NO_NETWORK });
  }
  return functions;
});

const OOM = { status: 502, body: { Code: 'out_of_memory' } };
const LOST = { status: 502, body: { Code: 'sandbox_lost' } };
const crashed = (details: object) => ({ status: 502, body: { Code: 'handler_crashed', Details: details } });

/** A call whose handler runs and waits for the test's word. */
async function held(name: string, more: object = {}) {
  const word = randomUUID();
  const reply = at.node.call(name, { do: 'tell', word, ...more });
  const said = await Promise.race([at.beacon.heard(word), reply]);
  if ('status' in said) throw new Error(`${name} answered early: ${JSON.stringify(said.body)}`);
  return { reply, said };
}

async function containerOf(sandbox: string): Promise<string> {
  const all = await at.node.daemon.containers();
  return all.find(({ labels }) => labels['io.worker-front.sandbox'] === sandbox)?.id ?? '';
}

/** Name of the container that takes the next call. */
const nextContainer = async (name: string) => (await at.node.ok(name, { do: 'value', value: 0 })).meta.ContainerName;

/** Leaves a kill for memory behind that happens when no call runs. */
async function killBetweenCalls(name: string): Promise<void> {
  const { meta } = await at.node.ok(name, { do: 'leave-eater' });
  const container = (await at.node.daemon.containers()).find((one) => one.name === meta.ContainerName);
  await eventually(
    () => at.node.engine.memoryUsage(container?.id ?? ''),
    (usage) => (usage?.oomKills ?? 0) > 0,
  );
  expect(await nextContainer(name), 'the sandbox goes on').toBe(meta.ContainerName);
}

describe.concurrent.each(LANGUAGES)('%s', (language) => {
  test('process: a kill for memory is not blamed for what comes after it in the same sandbox', async () => {
    const name = `process-${language}`;
    expect(await at.node.call(name, { do: 'eat-in-child' })).toMatchObject(OOM);
    const container = await nextContainer(name);
    expect(await at.node.call(name, { do: 'exit', code: 1 })).toMatchObject(crashed({ exitCode: 1 }));
    expect(await at.node.call(name, { do: 'exit', code: 137 })).toMatchObject(crashed({ exitCode: 137 }));
    expect(await at.node.call(name, { do: 'die' })).toMatchObject(crashed({ signal: 'SIGKILL' }));
    expect(await at.node.call(name, { do: 'throw' })).toMatchObject({ body: { Code: 'handler_error' } });
    expect(await nextContainer(name)).toBe(container);
    expect(await at.node.call(name, { do: 'eat-in-child' })).toMatchObject(OOM);
    expect(await nextContainer(name)).toBe(container);

    const { reply, said } = await held(name);
    await at.node.engine.killContainer(await containerOf(said.sandbox));
    expect(await reply).toMatchObject(LOST);
    expect(await nextContainer(name)).not.toBe(container);
  });

  test('shared: a kill for memory between two calls is not blamed for the second', async () => {
    const name = `shared-${language}`;
    await killBetweenCalls(name);
    expect(await at.node.call(name, { do: 'die' })).toMatchObject(crashed({ signal: 'SIGKILL' }));
    await killBetweenCalls(name);
    const { reply, said } = await held(name);
    await at.node.engine.killContainer(await containerOf(said.sandbox));
    expect(await reply).toMatchObject(LOST);
  });

  test('shared: what an earlier call has printed about memory does not count', async () => {
    const name = `talkative-${language}`;
    for (const text of ['java.lang.OutOfMemoryError: Java heap space', 'JavaScript heap out of memory']) {
      await at.node.ok(name, { do: 'show', text });
      expect(await at.node.call(name, { do: 'exit', code: 1 })).toMatchObject(crashed({ exitCode: 1 }));
    }
  });

  test('shared, several at once: all that run in a sandbox which dies of memory are told so, and no other', async () => {
    const name = `several-${language}`;
    const neighbours = [await held(name), await held(name), await held(name)];
    expect(new Set(neighbours.map(({ said }) => said.sandbox)).size).toBe(1);
    const eater = language === 'java' ? 'eat-native' : 'eat';
    const replies = await Promise.all([at.node.call(name, { do: eater }), ...neighbours.map(({ reply }) => reply)]);
    for (const reply of replies) expect(reply).toMatchObject(OOM);
    await nextContainer(name);
  });

  test('shared, several at once: a child that is killed for memory is blamed on all that run, and the sandbox goes on', async () => {
    const name = `parents-${language}`;
    const neighbours = [await held(name), await held(name)];
    expect(await at.node.call(name, { do: 'eat-in-child' })).toMatchObject(OOM);
    for (const { said } of neighbours) said.answer('go on');
    for (const { reply } of neighbours) expect(await reply).toMatchObject(OOM);

    const { reply, said } = await held(name);
    expect(said.sandbox).toBe(neighbours[0]?.said.sandbox);
    said.answer('well');
    expect(await reply).toMatchObject({ status: 200, body: { Result: 'well' } });
    const last = await held(name);
    await at.node.engine.killContainer(await containerOf(said.sandbox));
    expect(await last.reply).toMatchObject(LOST);
  });
});
