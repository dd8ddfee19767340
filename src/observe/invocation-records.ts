export interface InvocationRecordsOptions<T> {
  /** Records kept (`INVOCATION_HISTORY`); 0 keeps none. */
  limit: number;
  /** Bytes of captured output kept, all records together. 32 MiB when left out. */
  maxBytes?: number;
  /** Bytes that a record counts, usually its captured output. */
  bytesOf(record: T): number;
}

/** What stays known of invocations after their reply. */
export interface InvocationRecords<T extends { id: string }> {
  /** Adds a record, or replaces the one with its id in its place. The oldest ones go when a limit is reached. */
  put(record: T): void;
  get(id: string): T | undefined;
  /** Takes effect at once. */
  setLimit(limit: number): void;
  readonly size: number;
  readonly bytes: number;
}

/** Dropped ids at the front of the order before it is copied. */
const COMPACT_AT = 1024;

/**
 * Keeps the last records, bounded in number and in bytes of output, whichever comes first. A record that is larger
 * than all bytes together is kept alone, so that the last invocation can always be looked at.
 */
export function createInvocationRecords<T extends { id: string }>(
  options: InvocationRecordsOptions<T>,
): InvocationRecords<T> {
  const maxBytes = options.maxBytes ?? 32 * 2 ** 20;
  const records = new Map<string, { record: T; bytes: number }>();
  // Ids, oldest first, from `first` on. A Map's own order would do, but looking for the first key of a Map whose first
  // keys were deleted is slow.
  let order: string[] = [];
  let first = 0;
  let limit = options.limit;
  let total = 0;

  const trim = () => {
    while (records.size > limit || (total > maxBytes && records.size > 1)) {
      const id = order[first++] as string;
      total -= records.get(id)?.bytes ?? 0;
      records.delete(id);
    }
    if (first >= COMPACT_AT && first * 2 >= order.length) {
      order = order.slice(first);
      first = 0;
    }
  };

  return {
    put(record) {
      if (limit <= 0) return;
      const bytes = options.bytesOf(record);
      total += bytes;
      const before = records.get(record.id);
      if (before === undefined) {
        order.push(record.id);
        records.set(record.id, { record, bytes });
      } else {
        total -= before.bytes;
        before.record = record;
        before.bytes = bytes;
      }
      trim();
    },
    get: (id) => records.get(id)?.record,
    setLimit(next) {
      limit = Math.max(0, next);
      trim();
    },
    get size() {
      return records.size;
    },
    get bytes() {
      return total;
    },
  };
}
