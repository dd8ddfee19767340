import { WorkerFrontError } from '../lib/errors.ts';

/** Where functions come from, parsed. `prefix` joins with `<name>.zip` as it is. */
export type CodeSourceSetting =
  | { kind: 's3'; bucket: string; prefix: string }
  | { kind: 'folder'; path: string }
  | { kind: 'url'; prefix: string };

const EXAMPLES = 's3://bucket/prefix, file:///folder or https://host/prefix';

function wrong(setting: string, message: string): WorkerFrontError {
  return new WorkerFrontError('invalid_setting', `${setting}: ${message}`, { details: { setting } });
}

/** Parses `CODE_SOURCE`. A missing slash at the end of a prefix is added. Rejects with `invalid_setting`. */
export function parseCodeSource(value: string): CodeSourceSetting {
  let url: URL;
  try {
    url = new URL(value);
  } catch (cause) {
    throw new WorkerFrontError('invalid_setting', `CODE_SOURCE: '${value}' is no URL; give ${EXAMPLES}`, { cause });
  }
  switch (url.protocol) {
    case 's3:': {
      if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(url.hostname)) {
        throw wrong('CODE_SOURCE', `'${url.hostname}' is no bucket name; give s3://bucket/prefix`);
      }
      const prefix = decodeURIComponent(url.pathname).replace(/^\/+/, '');
      return {
        kind: 's3',
        bucket: url.hostname,
        prefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`,
      };
    }
    case 'file:':
      if (url.hostname !== '') {
        throw wrong('CODE_SOURCE', 'a folder is given with three slashes and an absolute path: file:///folder');
      }
      return { kind: 'folder', path: decodeURIComponent(url.pathname) };
    case 'http:':
    case 'https:':
      return { kind: 'url', prefix: value.endsWith('/') ? value : `${value}/` };
    default:
      throw wrong('CODE_SOURCE', `the scheme '${url.protocol}' is not known; give ${EXAMPLES}`);
  }
}

/** Parses HotFunctions' `USER_FUNCTION_URL_PREFIX`: prefix and `<name>.zip` are joined as they are, no slash added. */
export function parseUrlPrefix(value: string): CodeSourceSetting {
  if (!URL.canParse(value) || !/^https?:/.test(value)) {
    throw wrong('USER_FUNCTION_URL_PREFIX', `'${value}' is no http or https URL`);
  }
  return { kind: 'url', prefix: value };
}
