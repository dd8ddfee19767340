import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChannelFolder } from '../channel/listener.ts';
import type { ContainerSummary } from '../containers/engine.ts';
import { silentLogger } from '../lib/logger.ts';
import { LABELS } from './labels.ts';
import { sortLeftOvers } from './left-overs.ts';
import type { SandboxRecord } from './sandbox-records.ts';
import { recordOf } from './testing/left-behind.ts';

const NODE = { [LABELS.node]: 'n1' };
let dir: string;
let runDir: string;
let stemDir: string;
let containers: ContainerSummary[];
let forgotten: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'wf-left-'));
  runDir = join(dir, 'run');
  stemDir = join(dir, 'stems');
  containers = [];
  forgotten = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A stem as it lies on the machine when its daemon was killed. */
function leave(record: SandboxRecord): SandboxRecord {
  mkdirSync(join(runDir, record.id), { recursive: true });
  mkdirSync(join(stemDir, record.functionDir ?? '', 'code'), { recursive: true });
  containers.push({
    id: record.containerId,
    name: record.containerName,
    image: record.image,
    state: 'running',
    labels: { ...NODE, [LABELS.sandbox]: record.id },
  });
  return record;
}

async function sort(records: SandboxRecord[], opens: (id: string) => boolean = () => true) {
  const asked: Record<string, string>[] = [];
  const left = await sortLeftOvers(
    { labels: NODE, runDir, stemDir, logger: silentLogger },
    {
      engine: {
        async listContainers(labels) {
          asked.push(labels);
          return [...containers];
        },
        async removeContainer(id) {
          containers = containers.filter((container) => container.id !== id);
        },
      },
      records: { readAll: () => records, forget: (id) => void forgotten.push(id) },
      async openChannelFolder(id, token) {
        if (!opens(id)) throw new Error('no socket');
        return { dir: join(runDir, id), token } as ChannelFolder;
      },
    },
  );
  // Only this node's own containers are even looked at.
  expect(asked).toEqual([NODE]);
  return left;
}

describe('what the last run has left', () => {
  it('a sandbox that runs, and all that is its own, stays; it is listened to with its token', async () => {
    const record = leave(recordOf({}));
    const left = await sort([record]);
    expect(left).toEqual([{ record, folder: { dir: join(runDir, record.id), token: record.token } }]);
    expect(containers.map(({ id }) => id)).toEqual([record.containerId]);
    expect([existsSync(join(runDir, record.id)), existsSync(join(stemDir, record.functionDir ?? ''))]).toEqual([
      true,
      true,
    ]);
    expect(forgotten).toEqual([]);
  });

  const unfit: [string, (record: SandboxRecord) => void][] = [
    ['has ended', () => Object.assign(containers[0] as object, { state: 'exited' })],
    ['is another container', () => Object.assign(containers[0] as object, { id: 'c9' })],
    ['was renamed', () => Object.assign(containers[0] as object, { name: 'x' })],
    ['has an image that was made anew', () => Object.assign(containers[0] as object, { image: 'sha256:1' })],
    [
      'is another sandbox',
      () => Object.assign(containers[0] as object, { labels: { ...NODE, [LABELS.sandbox]: 'x' } }),
    ],
    ['has no channel folder', ({ id }) => rmSync(join(runDir, id), { recursive: true })],
    ['has no function folder', ({ functionDir }) => rmSync(join(stemDir, functionDir ?? ''), { recursive: true })],
    [
      'was about to get a function',
      ({ functionDir }) => writeFileSync(join(stemDir, functionDir ?? '', 'code/main.py'), ''),
    ],
    ['was about to get packages', ({ functionDir }) => mkdirSync(join(stemDir, functionDir ?? '', 'python'))],
  ];
  it.each(unfit)('one that %s is removed with all that is its own', async (_what, spoil) => {
    const record = leave(recordOf({}));
    spoil(record);
    expect(await sort([record])).toEqual([]);
    expect(containers).toEqual([]);
    expect([readdirSync(runDir), readdirSync(stemDir), forgotten]).toEqual([[], [], [record.id]]);
  });

  const HOLDER = { id: '00000000000000dd', containerId: 'c7' };

  /** A network holder that runs, and the folder that it looks into. */
  function leaveHolder(state: ContainerSummary['state'] = 'running'): void {
    mkdirSync(join(runDir, 'holders'), { recursive: true });
    writeFileSync(join(runDir, 'holders/hold.sock'), '');
    const labels = { ...NODE, [LABELS.sandbox]: HOLDER.id };
    containers.push({ id: HOLDER.containerId, name: 'hf_network__1_2', image: 'i', state, labels });
  }

  it('the network holder of a sandbox that stays stays too, with the folder that it looks into', async () => {
    const record = leave(recordOf({ holder: HOLDER }));
    leaveHolder();
    expect(await sort([record])).toMatchObject([{ record: { holder: HOLDER } }]);
    expect(containers.map(({ id }) => id)).toEqual([record.containerId, HOLDER.containerId]);
    expect(readdirSync(join(runDir, 'holders'))).toEqual(['hold.sock']);
  });

  it('a sandbox whose network holder has ended goes, and so does a holder whose sandbox has', async () => {
    const record = leave(recordOf({ holder: HOLDER }));
    leaveHolder('exited');
    expect(await sort([record])).toEqual([]);
    expect([containers, readdirSync(runDir), readdirSync(stemDir), forgotten]).toEqual([[], [], [], [record.id]]);
    leave(record);
    expect([await sort([record]), containers, readdirSync(runDir)]).toEqual([[], [], []]);
    leaveHolder();
    expect([await sort([record]), containers, readdirSync(runDir)]).toEqual([[], [], []]);
  });

  it('one without a record, one that cannot be listened to, and records without a container go', async () => {
    leave(recordOf({ id: '00000000000000bb', containerId: 'c2', functionDir: '6f8f57c3-9a2c-4c9d-9a53-2f7d2a9c1f01' }));
    const mute = leave(recordOf({}));
    const gone = recordOf({ id: '00000000000000cc', containerId: 'c3' });
    expect(await sort([mute, gone], (id) => id !== mute.id)).toEqual([]);
    expect(containers).toEqual([]);
    expect([readdirSync(runDir), readdirSync(stemDir), forgotten]).toEqual([[], [], [mute.id, gone.id]]);
  });

  it('other things in the same folders stay', async () => {
    mkdirSync(join(runDir, 'somebody'), { recursive: true });
    mkdirSync(join(runDir, 'holders'));
    writeFileSync(join(runDir, 'holders/notes.txt'), '');
    writeFileSync(join(runDir, 'notes.txt'), '');
    await sort([]);
    expect(readdirSync(runDir).sort()).toEqual(['holders', 'notes.txt', 'somebody']);
    expect(readdirSync(join(runDir, 'holders'))).toEqual(['notes.txt']);
  });
});
