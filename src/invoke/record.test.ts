import { expect, it } from 'vitest';
import type { InvocationRecord } from './invocation.ts';
import { recordBytes } from './record.ts';

it('counts what a function can make long: its output and the message of its error', () => {
  const output = { chunks: [{ stream: 'stdout' as const, text: '12345' }], droppedBytes: 100 };
  const record = { output, message: '123' } as InvocationRecord;
  expect(recordBytes(record)).toBe(8);
  expect(recordBytes({ ...record, output: undefined, message: undefined })).toBe(0);
});
