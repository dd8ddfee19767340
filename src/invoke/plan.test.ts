import { describe, expect, it } from 'vitest';
import { Hidden } from '../lib/hidden.ts';
import { Plans, planOf, versionKeyOf } from './plan.ts';
import { aVersion, NO_SECRETS, NODE } from './testing/versions.ts';

const ANY = { standard: undefined, allowed: [] };
const PLAIN = { runtimes: ANY, secrets: NO_SECRETS };

describe('planOf', () => {
  it('says how sandboxes of a version are made and loaded', () => {
    const version = aVersion('one', {
      handler: 'a.b',
      isolation: 'shared',
      concurrency: 3,
      env: { A: '1' },
      prewarm: 2,
    });
    const { sandbox, settings } = planOf(version, NODE, { standard: 'runsc', allowed: [] });
    expect(sandbox).toEqual({
      key: `f@one#${settings.digest}`,
      versionKey: 'f@one',
      functionName: 'f',
      version: 'one',
      environment: 'python3.11',
      limits: { memoryBytes: 2 ** 28, cpus: 1, pids: 128 },
      tmpBytes: 2 ** 26,
      network: 'outbound',
      runtime: 'runsc',
      codeDir: '/bundles/f/one',
      aliased: false,
      maxSandboxes: Number.POSITIVE_INFINITY,
      prewarm: 2,
      initTimeoutMs: 60_000,
      load: {
        function: 'f',
        version: 'one',
        handler: 'a.b',
        isolation: 'shared',
        concurrency: 3,
        spares: 1,
        memoryBytes: 2 ** 28,
        env: { A: '1' },
        resultLimit: NODE.responseLimit,
        logLimit: NODE.logLimit,
        dependencies: 'first',
      },
    });
  });

  it('leaves the handler to the environment when none is named', () => {
    expect(planOf(aVersion(), NODE, ANY).sandbox.load.handler).toBeNull();
  });

  it('bounds the sandboxes as the manifest says', () => {
    expect(planOf(aVersion('one', { maxSandboxes: 2 }), NODE, ANY).sandbox.maxSandboxes).toBe(2);
  });

  it("puts the installed packages first where the bundle's own were made for another version of the language", () => {
    const { sandbox } = planOf(aVersion('one', {}, true), NODE, ANY);
    expect(sandbox).toMatchObject({ aliased: true, load: { dependencies: 'last' } });
  });

  it('tells versions and settings apart by its key', () => {
    const keys = [
      planOf(aVersion('one'), NODE, ANY),
      planOf(aVersion('two'), NODE, ANY),
      planOf(aVersion('one'), { ...NODE, functionMemory: 2 ** 27 }, ANY),
      planOf(aVersion('one'), { ...NODE, usingRestMode: true }, ANY),
    ].map(({ sandbox }) => sandbox.key);
    expect(new Set(keys).size).toBe(4);
    expect(planOf(aVersion('one'), { ...NODE }, ANY).sandbox.key).toBe(keys[0]);
  });

  it('takes the runtime of the manifest where the operator allows it', () => {
    const runtimes = { standard: 'runc', allowed: ['runsc', 'kata'] };
    const runtimeOf = (runtime?: string) =>
      planOf(aVersion('one', runtime === undefined ? {} : { runtime }), NODE, runtimes).sandbox.runtime;
    expect([runtimeOf(), runtimeOf('runc'), runtimeOf('runsc')]).toEqual(['runc', 'runc', 'runsc']);
    expect(() => runtimeOf('crun')).toThrow(
      /config.json: runtime: 'crun' is not allowed on this node \(runc, runsc, kata\)/,
    );
    expect(() => planOf(aVersion('one', { runtime: 'runc' }), NODE, ANY)).toThrow(/\(none is\)/);
  });

  it('refuses more than the node allows', () => {
    expect(() => planOf(aVersion('one', { timeout: 901 }), NODE, ANY)).toThrow(/config.json: timeout/);
  });
});

describe('Plans', () => {
  it('makes a plan once per version and state of the settings', () => {
    const plans = new Plans(PLAIN);
    const [one, two] = [aVersion('one'), aVersion('two')];
    const plan = plans.of(one, NODE);
    expect(plans.of(one, NODE)).toBe(plan);
    expect(plans.of(two, NODE)).not.toBe(plan);
    const changed = plans.of(one, { ...NODE, functionTimeout: 1 });
    expect(changed.settings.timeoutMs).toBe(1000);
    expect(plans.of(one, NODE)).toEqual(plan);
  });

  it('does not remember a refusal: the limits may be raised', () => {
    const plans = new Plans(PLAIN);
    const version = aVersion('one', { timeout: 901 });
    expect(() => plans.of(version, NODE)).toThrow();
    expect(plans.of(version, { ...NODE, maxFunctionTimeout: 1000 }).settings.timeoutMs).toBe(901_000);
  });
});

describe('Plans of functions with secrets', () => {
  const version = aVersion('one', { env: { MODE: 'a' }, secrets: { TOKEN: 'api' } });
  const secretEnv = (value: string, digest: string) => ({ values: new Hidden({ TOKEN: value }), digest });

  it('asks for them by function and name, and keeps them out of what is written anywhere', () => {
    const asked: unknown[] = [];
    const env = secretEnv('swordfish', 'd1');
    const plans = new Plans({ runtimes: ANY, secrets: { of: (...what) => (asked.push(what), env) } });
    const plan = plans.of(version, NODE);
    expect(asked).toEqual([['f', { TOKEN: 'api' }]]);
    expect(plan.sandbox.load.env).toEqual({ MODE: 'a' });
    expect(plan.sandbox.secrets?.reveal()).toEqual({ TOKEN: 'swordfish' });
    expect(JSON.stringify(plan)).not.toContain('swordfish');
  });

  it('makes another plan when they have changed, and only then', () => {
    let env = secretEnv('one', 'd1');
    const plans = new Plans({ runtimes: ANY, secrets: { of: () => env } });
    const plan = plans.of(version, NODE);
    expect(plans.of(version, NODE)).toBe(plan);
    env = secretEnv('two', 'd2');
    const changed = plans.of(version, NODE);
    expect(changed.sandbox.key).not.toBe(plan.sandbox.key);
    expect(changed.sandbox.secrets?.reveal()).toEqual({ TOKEN: 'two' });
  });

  it('refuses more than fits into one frame', () => {
    const many = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`S${index}`, 'x'.repeat(60_000)]));
    const secrets = { of: () => ({ values: new Hidden(many), digest: 'd' }) };
    expect(() => new Plans({ runtimes: ANY, secrets }).of(version, NODE)).toThrow(/config.json: env: has 54\d+ bytes/);
  });
});

it('names a version of a function', () => {
  expect(versionKeyOf({ name: 'f', version: 'abc' })).toBe('f@abc');
});
