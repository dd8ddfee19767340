import { messageOf, systemCode, WorkerFrontError } from '../lib/errors.ts';
import { isServerFault, sourceDown, sourceProblem } from './problems.ts';

/** What is known of an error of the AWS SDK; HEAD replies have no body, so that only the status is left. */
export function s3ErrorOf(error: unknown): { name: string; status: number | undefined } {
  const { name, $metadata } = (error ?? {}) as { name?: string; $metadata?: { httpStatusCode?: number } };
  return { name: name ?? '', status: $metadata?.httpStatusCode };
}

/** Codes of S3 that say what is wrong with the credentials, and what to do. */
const CREDENTIALS: Record<string, string> = {
  InvalidAccessKeyId: 'does not know the access key; check AWS_ACCESS_KEY_ID',
  SignatureDoesNotMatch: 'refuses the signature; check AWS_SECRET_ACCESS_KEY',
  ExpiredToken: 'says the session token has expired; renew the credentials',
  InvalidToken: 'refuses the session token; check AWS_SESSION_TOKEN',
  RequestTimeTooSkewed: "refuses the request's time; set this machine's clock",
};

/** True when the server answered that these credentials may not do this (and did not refuse the credentials). */
export function isAccessDenied(error: unknown): boolean {
  const { name, status } = s3ErrorOf(error);
  return name === 'AccessDenied' || (status === 403 && CREDENTIALS[name] === undefined);
}

/** The SDK's errors carry the whole request and reply, signature included: nothing that should get into a log. */
function slim(error: unknown): Error {
  const { name } = s3ErrorOf(error);
  return new Error(`${name}: ${messageOf(error)}`);
}

/** Any error of S3 as `code_source_error` in words. Aborts and errors of the project come back as they are. */
export function s3Problem(error: unknown, bucket: string, what: string): unknown {
  if (error instanceof WorkerFrontError) return error;
  const cause = slim(error);
  const { name, status } = s3ErrorOf(error);
  const s3 = 'the code source (S3)';
  if (CREDENTIALS[name]) return sourceProblem(`${s3} ${CREDENTIALS[name]}`, cause);
  if (name === 'NoSuchBucket') return sourceProblem(`${s3} has no bucket '${bucket}'; check CODE_SOURCE`, cause);
  if (name === 'CredentialsProviderError') {
    return sourceProblem(
      `no credentials found for ${s3}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or S3_ANONYMOUS=true`,
      cause,
    );
  }
  if (status === 403 || name === 'AccessDenied') {
    return sourceProblem(
      `${s3} answered 403 to ${what}: the credentials are wrong or lack s3:GetObject, or the object does not exist ` +
        'and they lack s3:ListBucket (S3 then says 403 instead of 404)',
      cause,
    );
  }
  if (status === 301 || status === 307 || name === 'PermanentRedirect') {
    return sourceProblem(`${s3}: bucket '${bucket}' is in another region; set AWS_REGION`, cause);
  }
  if (status !== undefined) {
    const words = `${s3} answered ${status} (${name}) to ${what}; try again later`;
    return isServerFault(status) ? sourceDown(words, cause) : sourceProblem(words, cause);
  }
  const reason = name === 'TimeoutError' ? 'it did not answer in time' : (systemCode(error) ?? messageOf(error));
  return sourceDown(
    `${s3} could not be asked for ${what} (${reason}); check AWS_ENDPOINT_URL_S3 and that it runs`,
    cause,
  );
}
