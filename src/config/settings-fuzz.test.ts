import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hasCode } from '../lib/errors.ts';
import { parseSize } from '../lib/size.ts';
import { type Config, type RawSettings, toConfig } from './config.ts';
import { LiveSettings } from './live.ts';
import { SETTING_NAMES, type SettingName } from './settings.ts';
import { HOST } from './testing/host.ts';

const SOURCE = { CODE_SOURCE: 'file:///functions' };

/** Texts as people write them into settings, and as they do not. */
const value = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.integer({ min: -5, max: 100_000 }).map(String),
  fc.constantFrom('true', 'no', '1.5', '1e3', '0x10', ' 7 ', '+3', '-1', '64MiB', '1GB', '12 kb', 'NaN', 'Infinity'),
  fc.constantFrom('none', 'shared', 'outbound', '127.0.0.1', '[::1]', '*', 'a,b', 'python=python3.11', '10.0.0.0/8'),
);

function outcome(raw: RawSettings): Config | string {
  try {
    return toConfig(raw, HOST);
  } catch (error) {
    if (!hasCode(error, 'invalid_setting')) throw error;
    expect(error.message).not.toBe('');
    return error.message;
  }
}

it('gives a configuration or invalid_setting for any text in any setting', () => {
  let taken = 0;
  const settings = fc.dictionary(fc.constantFrom(...SETTING_NAMES), value, { maxKeys: 3 });
  fc.assert(
    fc.property(settings, (raw) => {
      const result = outcome({ ...SOURCE, ...raw });
      if (typeof result === 'string') return;
      taken += 1;
      const numbers = Object.entries(result.live).filter(([, one]) => typeof one === 'number');
      for (const [name, one] of numbers) expect({ name, finite: Number.isFinite(one) }).toEqual({ name, finite: true });
    }),
    { numRuns: 1000 },
  );
  expect(taken).toBeGreaterThan(50);
});

it('names the setting that is wrong, and never tells a secret', () => {
  const numeric: SettingName[] = ['PORT', 'QUEUE_LIMIT', 'FUNCTION_TIMEOUT', 'KEEP_VERSIONS', 'FUNCTION_MEMORY'];
  fc.assert(
    fc.property(fc.constantFrom(...numeric), fc.stringMatching(/^[a-z]{1,10}$/), (name, wrong) => {
      const result = outcome({ ...SOURCE, API_TOKEN: 'correct-horse-battery-staple', [name]: wrong });
      expect(result).toContain(name);
      expect(result).not.toContain('correct-horse');
    }),
  );
});

it('reads sizes by their units, and nothing else as a size', () => {
  const units = { '': 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, mib: 2 ** 20, GiB: 2 ** 30 };
  fc.assert(
    fc.property(
      fc.nat(4000),
      fc.constantFrom(...Object.entries(units)),
      fc.boolean(),
      (count, [unit, bytes], space) => {
        expect(parseSize(`${count}${space ? ' ' : ''}${unit}`)).toBe(count * bytes);
      },
    ),
  );
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const bytes = parseSize(text);
      if (bytes === undefined) return;
      expect(Number.isSafeInteger(bytes) && bytes >= 0).toBe(true);
      expect(text).toMatch(/^\s*\d/);
    }),
  );
});

it('changes all that is asked for on a running daemon, or nothing', () => {
  const live = new LiveSettings((outcome(SOURCE) as Config).live);
  const names = Object.keys(live.state());
  const spelled = fc
    .constantFrom(...names)
    .chain((name) =>
      fc.constantFrom(name, name.toLowerCase(), name.replaceAll(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase()),
    );
  const any = fc.oneof(value, fc.integer(), fc.double(), fc.boolean(), fc.constantFrom(null, undefined, [], {}));
  const patch = fc.dictionary(fc.oneof({ weight: 9, arbitrary: spelled }, fc.string()), any, { maxKeys: 3 });
  fc.assert(
    fc.property(fc.array(patch, { maxLength: 10 }), (patches) => {
      for (const one of patches) {
        const before = live.current;
        const told: unknown[] = [];
        const end = live.onChange((now) => told.push(now));
        try {
          const changed = live.change(one);
          expect(told).toEqual(changed ? [live.current] : []);
          expect(live.current === before).toBe(!changed);
        } catch (error) {
          if (!hasCode(error, 'invalid_setting')) throw error;
          expect(live.current).toBe(before);
          expect(told).toEqual([]);
        } finally {
          end();
        }
        const { functionTimeout, maxFunctionTimeout, functionMemory, maxFunctionMemory } = live.current;
        expect(functionTimeout).toBeLessThanOrEqual(maxFunctionTimeout);
        expect(functionMemory).toBeLessThanOrEqual(maxFunctionMemory);
        // What it shows can be sent back.
        expect(live.change(live.state())).toBe(false);
      }
    }),
    { numRuns: 300 },
  );
});
