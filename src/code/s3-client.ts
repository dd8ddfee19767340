import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import type { SourceTimeouts } from './limits.ts';

export interface S3Settings {
  /** `AWS_ENDPOINT_URL_S3`; none is AWS. */
  endpoint?: string;
  /** `AWS_REGION`; else what the SDK finds in its own files, else us-east-1 (which other servers than AWS ignore). */
  region?: string;
  /** `S3_FORCE_PATH_STYLE`; on with an own endpoint unless it says otherwise. */
  forcePathStyle?: boolean;
  /** `S3_ANONYMOUS`: requests are not signed. */
  anonymous?: boolean;
  /** Else the SDK's credential chain. */
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
}

/** Tries of one request, the first included; the SDK waits between them. */
const MAX_ATTEMPTS = 3;
const DEFAULT_REGION = 'us-east-1';

/** Loads the SDK (about 150 ms, so only when there is an S3 source) and makes its client. */
export async function createS3Client(settings: S3Settings, timeouts: SourceTimeouts): Promise<S3Client> {
  const { S3Client } = await import('@aws-sdk/client-s3');
  const { endpoint, anonymous = false } = settings;
  const config: S3ClientConfig = {
    maxAttempts: MAX_ATTEMPTS,
    followRegionRedirects: true,
    forcePathStyle: settings.forcePathStyle ?? endpoint !== undefined,
    // Checksums beyond what the protocol demands break uploads to servers that do not know them.
    ...(endpoint !== undefined && {
      endpoint,
      requestChecksumCalculation: 'WHEN_REQUIRED' as const,
      responseChecksumValidation: 'WHEN_REQUIRED' as const,
    }),
    ...(settings.region !== undefined && { region: settings.region }),
    ...(settings.credentials && { credentials: settings.credentials }),
    ...(anonymous && {
      credentials: { accessKeyId: 'anonymous', secretAccessKey: 'anonymous' },
      signer: { sign: async (request: never) => request },
    }),
    requestHandler: {
      connectionTimeout: timeouts.connect,
      requestTimeout: timeouts.headers,
      throwOnRequestTimeout: true,
      httpsAgent: { keepAlive: true, maxSockets: 50 },
    },
  };
  const client = new S3Client(config);
  if (settings.region !== undefined) return client;
  try {
    await client.config.region();
    return client;
  } catch {
    client.destroy();
    return new S3Client({ ...config, region: DEFAULT_REGION });
  }
}
