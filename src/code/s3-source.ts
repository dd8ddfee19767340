import type { Readable } from 'node:stream';
import { withinTime } from '../lib/abort.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { downloadAndUnpack, withTimeLimits } from './download.ts';
import { isFunctionName, type SourceTimeouts } from './limits.ts';
import { notFound, sourceDown } from './problems.ts';
import { createS3Client, type S3Settings } from './s3-client.ts';
import { isAccessDenied, s3ErrorOf, s3Problem } from './s3-errors.ts';
import type { UnpackLimits, WritableCodeSource } from './source.ts';

export type { S3Settings } from './s3-client.ts';

export interface S3SourceOptions extends S3Settings {
  bucket: string;
  /** Empty, or with a slash at its end. */
  prefix: string;
  limits: UnpackLimits;
  timeouts: SourceTimeouts;
}

/** Pauses between the tries of one request, for which the SDK waits up to about a second each, in milliseconds. */
const RETRY_PAUSES_MS = 3000;

/** Objects of a listing that are asked for at a time: the SDK takes 20 ms to read S3's thousand, in which nothing else runs. */
const LIST_KEYS = 500;

/** Functions as `<prefix><name>.zip` in a bucket of any server that speaks S3's protocol. The change tag is the ETag. */
export function createS3Source(options: S3SourceOptions): WritableCodeSource {
  const { bucket: Bucket, prefix, limits, timeouts, anonymous = false } = options;
  const keyOf = (name: string) => `${prefix}${name}.zip`;
  let loaded: ReturnType<typeof loadSdk> | undefined;
  let closed = false;

  async function loadSdk() {
    return [await import('@aws-sdk/client-s3'), await createS3Client(options, timeouts)] as const;
  }

  async function load() {
    if (closed) throw new WorkerFrontError('shutting_down', 'the code source is closed');
    loaded ??= loadSdk();
    return loaded;
  }

  /**
   * Runs requests within a time limit for all their tries together; what they reject with becomes the project's errors.
   */
  async function asking<T>(
    what: string,
    signal: AbortSignal | undefined,
    job: (signal: AbortSignal) => Promise<T>,
    ms = timeouts.connect + timeouts.headers + RETRY_PAUSES_MS,
  ): Promise<T> {
    const late = () => sourceDown(`the code source (S3) did not answer within ${ms} ms, asked for ${what}`);
    try {
      return await withinTime(job, { ms, signal, late });
    } catch (error) {
      signal?.throwIfAborted();
      throw s3Problem(error, Bucket, what);
    }
  }

  /**
   * A reply to HEAD has no body and so does not tell a missing object from a missing bucket; a GET of nothing does.
   */
  async function isObjectMissing(Key: string, signal?: AbortSignal): Promise<true> {
    const [{ GetObjectCommand }, client] = await load();
    try {
      const reply = await client.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=0-0' }), {
        abortSignal: signal,
      });
      (reply.Body as Readable | undefined)?.destroy();
    } catch (error) {
      const { name, status } = s3ErrorOf(error);
      if (name === 'NoSuchBucket' || (status !== 404 && status !== 416)) throw error;
    }
    return true;
  }

  return {
    description: `s3://${Bucket}/${prefix}${options.endpoint ? ` at ${hostOf(options.endpoint)}` : ''}`,
    writable: !anonymous,

    async stat(name, { signal } = {}) {
      return asking(`'${name}.zip'`, signal, async (within) => {
        const [{ HeadObjectCommand }, client] = await load();
        const Key = keyOf(name);
        try {
          return {
            name,
            tag: tagOf(await client.send(new HeadObjectCommand({ Bucket, Key }), { abortSignal: within })),
          };
        } catch (error) {
          if (s3ErrorOf(error).status !== 404) throw error;
          await isObjectMissing(Key, within);
          return undefined;
        }
      });
    },

    async fetch(name, targetDir, { signal } = {}) {
      const what = `'${name}.zip'`;
      const reply = await asking(what, signal, async (within) => {
        const [{ GetObjectCommand }, client] = await load();
        try {
          return await client.send(new GetObjectCommand({ Bucket, Key: keyOf(name) }), { abortSignal: within });
        } catch (error) {
          const { name: code, status } = s3ErrorOf(error);
          if (code === 'NoSuchKey' || (status === 404 && code !== 'NoSuchBucket')) throw notFound(name);
          throw error;
        }
      });
      const body = complete(reply.Body as Readable, what, timeouts, signal);
      const unpacked = await downloadAndUnpack(body, { functionName: name, targetDir, limits, signal });
      return { name, tag: tagOf(reply), ...unpacked };
    },

    async *list({ signal } = {}) {
      const [{ ListObjectsV2Command }, client] = await asking('its listing', signal, load);
      let ContinuationToken: string | undefined;
      do {
        const input = { Bucket, Prefix: prefix, Delimiter: '/', MaxKeys: LIST_KEYS, ContinuationToken };
        const page = await asking('its listing', signal, (within) => {
          return client.send(new ListObjectsV2Command(input), { abortSignal: within });
        });
        const zips = (page.Contents ?? []).flatMap(({ Key }) => (Key?.endsWith('.zip') ? [Key] : []));
        yield zips.map((key) => key.slice(prefix.length, -'.zip'.length)).filter(isFunctionName);
        ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
      } while (ContinuationToken !== undefined);
    },

    async check({ signal } = {}) {
      await asking('its listing', signal, async (within) => {
        const [{ ListObjectsV2Command }, client] = await load();
        try {
          await client.send(new ListObjectsV2Command({ Bucket, Prefix: prefix, MaxKeys: 1 }), { abortSignal: within });
        } catch (error) {
          // Without s3:ListBucket functions can still be read by name: it answers, and knows the credentials.
          if (!isAccessDenied(error)) throw error;
        }
      });
    },

    async put(name, zip, { signal } = {}) {
      return writing(name, signal, async (within) => {
        const [{ PutObjectCommand }, client] = await load();
        const input = { Bucket, Key: keyOf(name), Body: zip, ContentType: 'application/zip' };
        // The reply comes when all of the zip is there.
        const waiting = { abortSignal: within, requestTimeout: timeouts.body };
        const reply = await client.send(new PutObjectCommand(input), waiting);
        return { name, tag: tagOf({ ...reply, ContentLength: zip.length }) };
      });
    },

    async delete(name, { signal } = {}) {
      await writing(name, signal, async (within) => {
        const [{ DeleteObjectCommand }, client] = await load();
        await client.send(new DeleteObjectCommand({ Bucket, Key: keyOf(name) }), { abortSignal: within });
      });
    },

    async close() {
      closed = true;
      const sdk = await loaded?.catch(() => undefined);
      sdk?.[1].destroy();
    },
  };

  async function writing<T>(
    name: string,
    signal: AbortSignal | undefined,
    job: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const write = async (within: AbortSignal) => {
      if (anonymous) throw readOnly('S3_ANONYMOUS is on');
      try {
        return await job(within);
      } catch (error) {
        if (isAccessDenied(error)) throw readOnly('the credentials may not write to it');
        throw error;
      }
    };
    return asking(`write '${name}.zip'`, signal, write, timeouts.body);
  }
}

function readOnly(reason: string): WorkerFrontError {
  return new WorkerFrontError('read_only_source', `the code source (S3) cannot be written: ${reason}`);
}

function tagOf(object: { ETag?: string; VersionId?: string; ContentLength?: number }): string {
  return [object.ETag ?? '', object.VersionId ?? '', object.ContentLength ?? ''].join(' ');
}

/** The body within its time limits; one that breaks off (Node sees a missing rest, too) is the source's fault. */
async function* complete(
  body: Readable,
  what: string,
  timeouts: SourceTimeouts,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  try {
    yield* withTimeLimits(body, timeouts, (words) => sourceDown(`the code source (S3) ${words}`), signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof WorkerFrontError) throw error;
    throw sourceDown(`the code source (S3) broke off while sending ${what}; try again`, error);
  }
}

function hostOf(endpoint: string): string {
  return URL.canParse(endpoint) ? new URL(endpoint).host : 'its endpoint';
}
