import { describe, expect, it } from 'vitest';
import { ERROR_CODES, hasCode, messageOf, systemCode, WorkerFrontError } from './errors.ts';

describe('WorkerFrontError', () => {
  it('carries code, message, details, cause and when to try again', () => {
    const cause = new Error('inner');
    const error = new WorkerFrontError('node_overloaded', 'full', { details: { a: 1 }, cause, retryAfter: 2 });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'WorkerFrontError', code: 'node_overloaded', message: 'full', retryAfter: 2 });
    expect(error.details).toEqual({ a: 1 });
    expect(error.cause).toBe(cause);
  });

  it('has no cause when none is given', () => {
    expect('cause' in new WorkerFrontError('conflict', 'x')).toBe(false);
  });

  it('is told apart by hasCode', () => {
    const error = new WorkerFrontError('conflict', 'x');
    expect(hasCode(error)).toBe(true);
    expect(hasCode(error, 'conflict')).toBe(true);
    expect(hasCode(error, 'invalid_request')).toBe(false);
    expect(hasCode(Object.assign(new Error('x'), { code: 'conflict' }))).toBe(false);
    expect(hasCode(undefined)).toBe(false);
  });

  it('has every code once', () => {
    expect(new Set(ERROR_CODES).size).toBe(ERROR_CODES.length);
  });
});

describe('systemCode', () => {
  it.each([
    [Object.assign(new Error('x'), { code: 'ENOENT' }), 'ENOENT'],
    [Object.assign(new Error('x'), { code: 5 }), undefined],
    [new Error('x'), undefined],
    [null, undefined],
    [undefined, undefined],
    ['ENOENT', undefined],
  ])('of %j is %s', (error, code) => {
    expect(systemCode(error)).toBe(code);
  });
});

describe('messageOf', () => {
  it.each([
    [new Error('words'), 'words'],
    ['text', 'text'],
    [undefined, 'undefined'],
    [null, 'null'],
    [5, '5'],
  ])('of %s is %s', (error, message) => {
    expect(messageOf(error)).toBe(message);
  });
});
