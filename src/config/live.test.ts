import { beforeEach, describe, expect, it } from 'vitest';
import { hasCode } from '../lib/errors.ts';
import { toConfig } from './config.ts';
import { LiveSettings } from './live.ts';

let live: LiveSettings;

beforeEach(() => {
  const host = {
    cpus: 2,
    memoryBytes: 2 ** 33,
    root: true,
    home: '/',
    stateDirectory: undefined,
    xdgStateHome: undefined,
    cwd: '/',
  };
  live = new LiveSettings(toConfig({ CODE_SOURCE: 'file:///f' }, host).live);
});

function refusal(patch: Record<string, unknown>): string {
  try {
    live.change(patch);
  } catch (error) {
    if (hasCode(error, 'invalid_setting')) return error.message;
    throw error;
  }
  throw new Error('was accepted');
}

describe('LiveSettings', () => {
  it("shows HotFunctions' five first, under their names", () => {
    expect(Object.keys(live.state()).slice(0, 5)).toEqual([
      'UserCodeSizeLimit',
      'ContainerPoolLimit',
      'ContainerPoolNum',
      'UsingRestMode',
      'RestContainerLifeTime',
    ]);
    expect(live.state()['RestContainerLifeTime']).toBe(10);
  });

  it.each(['user_code_size_limit', 'USER_CODE_SIZE_LIMIT', 'UserCodeSizeLimit', 'userCodeSizeLimit'])(
    'understands the spelling %s',
    (name) => {
      expect(live.change({ [name]: '100MB' })).toBe(true);
      expect(live.current.userCodeSizeLimit).toBe(100_000_000);
    },
  );

  it('takes numbers and booleans of a JSON body as well as texts', () => {
    live.change({ container_pool_num: 3, using_rest_mode: true });
    expect(live.current).toMatchObject({ containerPoolNum: 3, usingRestMode: true });
  });

  it.each<[string, unknown]>([
    ['container_pool_num', 'many'],
    ['container_pool_num', ''],
    ['container_pool_num', -1],
    ['container_pool_num', 10 ** 30],
    ['container_pool_num', null],
    ['container_pool_num', {}],
    ['rest_container_life_time', 'NaN'],
    ['user_code_size_limit', '-5'],
    ['port', '1'],
    ['__proto__x', '1'],
  ])('refuses %s=%j whole and names the field', (name, value) => {
    const before = live.current;
    const message = refusal({ queue_limit: 7, [name]: value });
    expect(message).toContain(name);
    // What to do, in our own words.
    expect(message).toMatch(/must be|is no setting/);
    expect(live.current).toBe(before);
  });

  it('keeps defaults below their maximum', () => {
    expect(refusal({ function_timeout: 1000 })).toMatch(/^function_timeout: .*MaxFunctionTimeout \(900\)/);
    expect(refusal({ MAX_FUNCTION_TIMEOUT: 10 })).toMatch(/^MAX_FUNCTION_TIMEOUT: .*FunctionTimeout \(300\)/);
    expect(live.change({ function_timeout: 1000, max_function_timeout: 2000 })).toBe(true);
  });

  it('says when nothing changed, and tells listeners only of changes', () => {
    const seen: [number, number][] = [];
    live.onChange((now, before) => seen.push([before.queueLimit, now.queueLimit]));
    expect(live.change({ queue_limit: 100 })).toBe(false);
    expect(live.change({})).toBe(false);
    expect(live.change({ queue_limit: 5 })).toBe(true);
    expect(seen).toEqual([[100, 5]]);
  });

  it('takes the isolation back to what USING_REST_MODE says', () => {
    live.change({ isolation: 'shared' });
    expect(live.current.isolation).toBe('shared');
    live.change({ isolation: '' });
    expect(live.current.isolation).toBeNull();
  });
});
