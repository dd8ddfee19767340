import { describe, expect, it } from 'vitest';
import { engineWarnings, isAtLeast, spokenVersion, supportProblem } from './supported-engines.ts';

const facts = { version: '20.10.24', apiVersion: '1.41', osType: 'linux', missingLimits: [], seccomp: 'default' };

describe('supportProblem', () => {
  // Engines and the newest API that each offers: https://docs.docker.com/reference/api/engine/#api-version-matrix
  it.each([
    ['20.10.0', '1.41'],
    ['23.0.6', '1.42'],
    ['24.0.9', '1.43'],
    ['27.5.1', '1.47'],
    ['29.0.0', '1.52'],
    ['4.3.1', '1.41'],
  ])('has nothing against %s (API %s)', (version, apiVersion) => {
    expect(supportProblem({ ...facts, version, apiVersion })).toBeUndefined();
  });

  it.each([
    ['19.03.15', '1.40'],
    ['1.13.1', '1.26'],
    ['0.1', '1.4'],
    ['odd', ''],
  ])('says of %s (API %s) what is needed', (version, apiVersion) => {
    expect(supportProblem({ ...facts, version, apiVersion })).toMatch(
      /^Docker Engine \S+ \(API \S+\) is too old; worker-front needs 20\.10 \(API 1\.41\) or later: update Docker$/,
    );
  });

  it('refuses an engine for Windows containers', () => {
    expect(supportProblem({ ...facts, osType: 'windows' })).toContain('needs Linux containers');
  });
});

it('warns of limits that the kernel does not enforce', () => {
  expect(engineWarnings(facts)).toEqual([]);
  expect(engineWarnings({ ...facts, missingLimits: ['memory', 'swap'] })).toEqual([
    expect.stringContaining('does not enforce limits of memory, swap'),
  ]);
});

it('warns of an engine that filters no system calls', () => {
  for (const seccomp of ['builtin', '/etc/docker/seccomp.json'])
    expect(engineWarnings({ ...facts, seccomp })).toEqual([]);
  expect(engineWarnings({ ...facts, seccomp: 'unconfined' })).toEqual([
    expect.stringContaining('is unconfined): a function may'),
  ]);
  expect(engineWarnings({ ...facts, seccomp: undefined })).toEqual([
    expect.stringContaining('its kernel has no seccomp'),
  ]);
});

describe('spokenVersion', () => {
  it.each([
    ['1.12', '1.41', '1.41'],
    ['1.24', '1.51', '1.41'],
    ['1.44', '1.52', '1.44'],
    ['', '1.41', '1.41'],
    // Too old, or nothing that we know: the engine's own choice, for the one question that is still asked.
    ['1.12', '1.40', undefined],
    ['', '', undefined],
  ])('with an engine that offers %s to %s is %s', (oldest, newest, spoken) => {
    expect(spokenVersion({ oldest, newest })).toBe(spoken);
  });
});

it('compares versions by their numbers', () => {
  expect(isAtLeast('1.100', '1.41')).toBe(true);
  expect(isAtLeast('2.0', '1.41')).toBe(true);
  expect(isAtLeast('1.5', '1.41')).toBe(false);
  expect(isAtLeast('latest', '1.41')).toBe(false);
});
