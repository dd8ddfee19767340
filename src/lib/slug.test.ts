import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSlugs, plainSlug } from './slug.ts';

// The engine's own rule for a path component of an image name (distribution/reference).
const LEGAL = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
const names = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);

describe('plainSlug', () => {
  it.each([
    ['W1', 'w1'],
    ['word-count', 'word-count'],
    ['word_count', 'word_count'],
    ['a__b', 'a__b'],
    ['a___b', 'a-b'],
    ['a_-b', 'a-b'],
    ['--x--', 'x'],
    ['_-_', 'f'],
  ])('%s is %s', (name, slug) => {
    expect(plainSlug(name)).toBe(slug);
  });

  it('is always legal after hf_', () => {
    fc.assert(fc.property(names, (name) => LEGAL.test(`hf_${plainSlug(name)}`)));
  });
});

describe('createSlugs', () => {
  it('gives the plain slug to the first name and a hash to the second', () => {
    const slugs = createSlugs();
    expect(slugs.of('W1')).toBe('w1');
    expect(slugs.of('w1')).toMatch(/^w1-[0-9a-f]{6}$/);
    expect(slugs.of('W1')).toBe('w1');
  });

  it('keeps assignments over a restart', () => {
    const slugs = createSlugs();
    slugs.restore('w1', 'w1');
    slugs.restore('W1', 'w1');
    expect(slugs.of('w1')).toBe('w1');
    expect(slugs.of('W1')).toMatch(/^w1-/);
  });

  it('never gives one slug to two names, and only legal ones', () => {
    fc.assert(
      fc.property(fc.uniqueArray(names, { maxLength: 50 }), (all) => {
        const slugs = createSlugs();
        const given = all.map((name) => slugs.of(name));
        expect(new Set(given).size).toBe(all.length);
        for (const slug of given) expect(`hf_${slug}`).toMatch(LEGAL);
      }),
    );
  });
});
