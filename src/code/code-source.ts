import { fileURLToPath } from 'node:url';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import { createFolderSource } from './folder-source.ts';
import { DEFAULT_TIMEOUTS, DEFAULT_UNPACK_LIMITS, type SourceTimeouts } from './limits.ts';
import { createS3Source, type S3Settings } from './s3-source.ts';
import type { CodeSource, UnpackLimits } from './source.ts';
import { createUrlSource } from './url-source.ts';

/**
 * Where functions come from and how to get there. Read from the environment by `src/config`, nowhere here, but for what
 * Node and the AWS SDK read by themselves: `NODE_EXTRA_CA_CERTS` (the SDK knows no `AWS_CA_BUNDLE`) and credentials.
 */
export interface CodeSourceSettings {
  /** `CODE_SOURCE`: `s3://bucket/prefix`, `file:///folder`, `https://host/prefix`; or `USER_FUNCTION_URL_PREFIX`. */
  url: string;
  /**
   * True for `USER_FUNCTION_URL_PREFIX`: prefix and `<name>.zip` are joined as they are. Otherwise a missing slash is
   * added between them.
   */
  joinAsIs?: boolean;
  s3?: S3Settings;
  limits?: UnpackLimits;
  timeouts?: SourceTimeouts;
}

/** Makes the code source for a setting; connects to nothing yet. Throws `invalid_setting`. */
export function createCodeSource(settings: CodeSourceSettings): CodeSource {
  const { url, limits = DEFAULT_UNPACK_LIMITS, timeouts = DEFAULT_TIMEOUTS } = settings;
  const place = parseCodeSource(url, settings.joinAsIs);
  if (place.kind === 'folder') return createFolderSource({ folder: place.folder, limits });
  if (place.kind === 'url') return createUrlSource({ ...place, limits, timeouts });
  return createS3Source({ ...place, ...settings.s3, limits, timeouts });
}

export type CodeSourcePlace =
  | { kind: 'folder'; folder: string }
  | { kind: 's3'; bucket: string; prefix: string }
  /** `before` and `after` enclose `<name>.zip`. */
  | { kind: 'url'; before: string; after: string };

/** Reads a setting. The messages never repeat it whole: it may carry a password. */
export function parseCodeSource(url: string, joinAsIs = false): CodeSourcePlace {
  if (url.startsWith('s3://')) return parseS3(url);
  if (!URL.canParse(url)) throw bad('is no URL');
  const { protocol } = new URL(url);
  if (protocol === 'file:') return parseFile(url);
  if (protocol === 'https:' || protocol === 'http:') return parseHttp(url, joinAsIs);
  throw bad(`starts with '${protocol}'`);
}

function parseFile(url: string): CodeSourcePlace {
  if (!url.startsWith('file:///') && !url.startsWith('file://localhost/')) {
    throw bad("must name an absolute folder: 'file:///srv/functions'");
  }
  try {
    return { kind: 'folder', folder: fileURLToPath(url) };
  } catch (error) {
    throw bad(`names no folder: ${messageOf(error)}`);
  }
}

/** Bucket names of S3 and of servers that are less strict. */
const S3_URL = /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9])(?:\/(.*))?$/;

function parseS3(url: string): CodeSourcePlace {
  const match = S3_URL.exec(url);
  if (!match?.[1]) throw bad("must be 's3://bucket' or 's3://bucket/prefix'");
  const prefix = match[2] ?? '';
  return { kind: 's3', bucket: match[1], prefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/` };
}

function parseHttp(url: string, joinAsIs: boolean): CodeSourcePlace {
  if (joinAsIs) return { kind: 'url', before: url, after: '' };
  const { search } = new URL(url);
  const path = url.split(/[?#]/)[0] ?? url;
  // A query (a signature or token) stays behind the file's name.
  return { kind: 'url', before: path.endsWith('/') ? path : `${path}/`, after: search };
}

function bad(problem: string): WorkerFrontError {
  return new WorkerFrontError(
    'invalid_setting',
    `CODE_SOURCE ${problem}; use s3://bucket/prefix, file:///folder or https://host/prefix`,
    { details: { field: 'CODE_SOURCE' } },
  );
}
