import { describe, expect, it } from 'vitest';
import { createEnvironments } from './environments.ts';

const standard = createEnvironments();

describe('createEnvironments', () => {
  it.each(['python3.11', 'nodejs20', 'nodejs22', 'java17'])('has %s itself', (name) => {
    expect(standard.resolve(name)).toMatchObject({ name, aliased: false });
    expect(standard.names).toContain(name);
  });

  it.each([
    ['python', 'python3.11'],
    ['python3.7', 'python3.11'],
    ['python3.8', 'python3.11'],
    ['python3.9', 'python3.11'],
    ['python3.10', 'python3.11'],
    ['nodejs', 'nodejs20'],
    ['nodejs12', 'nodejs20'],
    ['nodejs14', 'nodejs20'],
    ['nodejs16', 'nodejs20'],
    ['nodejs18', 'nodejs20'],
    ['java', 'java17'],
    ['java8', 'java17'],
    ['java11', 'java17'],
  ])('takes %s upwards to %s', (alias, name) => {
    expect(standard.resolve(alias)).toMatchObject({ name, aliased: true });
  });

  it.each(['python3.12', 'nodejs24', 'java21', 'Python3.11', '', 'cobol', '__proto__', 'constructor', 'toString'])(
    'refuses %j with the list of what there is',
    (name) => {
      expect(() => standard.resolve(name)).toThrow(
        expect.objectContaining({
          code: 'invalid_function',
          message: expect.stringMatching(/there are python3\.11, nodejs20, nodejs22, java17, python, /) as string,
          details: { file: 'config.json', key: 'environment', environments: standard.names },
        }) as Error,
      );
    },
  );

  it('lets own aliases win', () => {
    const own = createEnvironments(
      new Map([
        ['nodejs', 'nodejs22'],
        ['house-python', 'python3.11'],
        ['java17', 'java17'],
        ['nodejs20', 'nodejs22'],
      ]),
    );
    expect(own.resolve('nodejs')).toMatchObject({ name: 'nodejs22', aliased: true });
    expect(own.resolve('house-python')).toMatchObject({ name: 'python3.11', language: 'python', aliased: true });
    expect(own.resolve('java17')).toMatchObject({ name: 'java17', aliased: false });
    expect(own.resolve('nodejs20')).toMatchObject({ name: 'nodejs22', aliased: true });
    expect(own.resolve('nodejs18').name).toBe('nodejs20');
    expect(own.names).toEqual(standard.names);
  });

  it('refuses an own alias that points at nothing', () => {
    expect(() => createEnvironments(new Map([['php', 'php8']]))).toThrow(
      expect.objectContaining({
        code: 'invalid_setting',
        message: expect.stringContaining("'php=php8'") as string,
      }) as Error,
    );
  });
});
