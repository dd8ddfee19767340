import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../lib/logger.ts';
import { createSandboxRecords, digestOf, planDigest, type SandboxRecords } from './sandbox-records.ts';
import { planOf } from './testing/fakes.ts';
import { recordOf } from './testing/left-behind.ts';

let dir: string;
let records: SandboxRecords;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'wf-records-')), 'sandboxes');
  records = createSandboxRecords(dir, silentLogger);
});
afterEach(() => rmSync(join(dir, '..'), { recursive: true, force: true }));

describe('records of sandboxes', () => {
  it('are found again as they were written, until they are forgotten', () => {
    const stem = recordOf({ id: '00000000000000aa' });
    const loaded = recordOf({ id: '00000000000000bb', loaded: { name: 'f', version: 'v', planDigest: 'd' } });
    records.save(stem);
    const joined = recordOf({ id: '00000000000000cc', holder: { id: '00000000000000dd', containerId: 'c7' } });
    records.save(loaded);
    records.save(joined);
    records.save({ ...stem, imageName: 'hf_f' });
    const found = () => createSandboxRecords(dir, silentLogger).readAll();
    expect(found()).toEqual([{ ...stem, imageName: 'hf_f' }, loaded, joined]);
    records.forget(stem.id);
    records.forget(stem.id);
    expect(found()).toEqual([loaded, joined]);
  });

  it('hold tokens: nobody else reads them', () => {
    const record = recordOf({});
    records.save(record);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(statSync(join(dir, `${record.id}.json`)).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(dir, `${record.id}.json`), 'utf8')).toContain(record.token);
  });

  it.each([
    ['half', (text: string) => text.slice(0, 100)],
    ['empty', () => ''],
    ['of another format', (text: string) => text.replace(/"format":\d+/, '"format":999')],
    ['with an id that leads elsewhere', (text: string) => text.replace(/"id":"\w+"/, '"id":"../../x"')],
    ['of another sandbox', (text: string) => text.replace(/"id":"\w+"/, '"id":"0000000000000000"')],
    ['with a folder that leads elsewhere', (text: string) => text.replace('{', '{"functionDir":"../../../etc",')],
    ['with a token that can be guessed', (text: string) => text.replace(/"token":"\w+"/, '"token":""')],
  ])('that are %s are removed, and harm no other', (_what, spoil) => {
    const good = recordOf({ id: '00000000000000aa' });
    records.save(good);
    const { functionDir: _functionDir, ...bad } = recordOf({ id: '00000000000000bb' });
    records.save(bad);
    const path = join(dir, `${bad.id}.json`);
    writeFileSync(path, spoil(readFileSync(path, 'utf8')));
    writeFileSync(join(dir, 'left.new'), 'half');
    expect(records.readAll()).toEqual([good]);
    expect(readdirSync(dir)).toEqual([`${good.id}.json`]);
  });

  it('that cannot be written are no failure, and leave nothing', () => {
    writeFileSync(dir, 'no folder');
    records.save(recordOf({}));
    records.forget('00000000000000aa');
    expect(records.readAll()).toEqual([]);
    expect(existsSync(`${dir}.new`)).toBe(false);
  });
});

describe('the digest of a plan', () => {
  const plan = planOf('f');
  it.each([
    ['settings', planOf('f', { key: 'other' })],
    ['memory', planOf('f', { key: plan.key, memory: 200 })],
    ['environment variables', { ...plan, load: { ...plan.load, env: { A: '1' } } }],
    ['limit of the log', { ...plan, load: { ...plan.load, logLimit: 1 } }],
    ['runtime', { ...plan, runtime: 'runsc' }],
    ['network', { ...plan, network: 'none' as const }],
    ['language version', { ...plan, environment: 'python3.12' }],
    ['order of dependencies', { ...plan, load: { ...plan.load, dependencies: 'first' as const } }],
  ])('differs with other %s', (_what, other) => {
    expect(planDigest(other)).not.toBe(planDigest(plan));
  });

  it('is the same whatever the sandbox keeps prepared, and wherever its code lay', () => {
    const other = { ...plan, codeDir: '/elsewhere', prewarm: 5, load: { ...plan.load, spares: 4 } };
    expect(planDigest(other)).toBe(planDigest(plan));
  });

  it('does not depend on the order of keys', () => {
    expect(digestOf({ a: 1, b: [{ c: 2, d: 3 }] })).toBe(digestOf({ b: [{ d: 3, c: 2 }], a: 1 }));
    expect(digestOf({ a: [1, 2] })).not.toBe(digestOf({ a: [2, 1] }));
  });
});
