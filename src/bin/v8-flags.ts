import { setFlagsFromString } from 'node:v8';

/** From now on V8's space for young objects grows by what it is used for: doubling is V8's own measure. */
export function growAsUsual(): void {
  setFlagsFromString('--semi-space-growth-factor=2');
}

/**
 * From now on the old space is collected when it has grown fourfold, and not by half. What V8 counts there includes the bytes
 * of buffers: calls with large bodies would have all of the daemon's objects marked at every eighth megabyte, which took
 * more of the processor than all else. While the daemon is idle V8 gives the memory back as before.
 */
export function collectLater(): void {
  setFlagsFromString('--heap-growing-percent=300');
}

/**
 * From now on V8 compiles what runs often with its optimizing compiler after an eighth of its usual measure (bytes of
 * bytecode between two looks at a function). A call passes through some hundred small functions: by the usual measure many
 * of them are still not optimized after fifty thousand calls, which on a quiet node takes days.
 */
export function optimizeSoon(): void {
  setFlagsFromString('--interrupt-budget=16384');
}
