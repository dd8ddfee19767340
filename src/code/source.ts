/** What a code source knows about a function's object without reading it. */
export interface SourceObject {
  name: string;
  /** Change tag: differs when the code differs (an ETag, or a digest of modification state). Opaque. */
  tag: string;
}

export interface FetchedCode extends SourceObject {
  /** Bytes of unpacked code written into the target folder. */
  bytes: number;
  /** Digest of the code (`digest.ts`), when it was computed on the way; else the code cache reads the folder again. */
  version?: string;
}

export interface Waiting {
  signal?: AbortSignal;
}

/** Limits on what a bundle may be; broken ones are `invalid_function`. */
export interface UnpackLimits {
  /** Bytes of all unpacked files together. */
  maxBytes: number;
  maxEntries: number;
  /** Unpacked bytes of one entry divided by its packed bytes (only counted above 1 MiB unpacked). */
  maxRatio: number;
}

/**
 * Where functions come from. Implementations: `s3-source.ts`, `folder-source.ts`, `url-source.ts`; all pass
 * `test/conformance/code-source.ts`.
 *
 * Contract: methods may be called concurrently. An object that does not exist is `undefined` (stat) or
 * `function_not_found` (fetch); a source that is down, slow (its own time limit) or refuses is `code_source_error`
 * with the reason in words and never a wrong `function_not_found`; bad content is `invalid_function`; a full disk is
 * `storage_full`. Function names are valid (checked by the caller).
 */
export interface CodeSource {
  /** For logs and `readyz`: scheme and place, without credentials. */
  readonly description: string;
  readonly writable: boolean;

  stat(name: string, options?: Waiting): Promise<SourceObject | undefined>;
  /**
   * Downloads and unpacks a function's code into `targetDir` (exists and is empty; the caller removes it on failure).
   * A top folder named like the function is taken away. Streams: memory does not grow with the size.
   */
  fetch(name: string, targetDir: string, options?: Waiting): Promise<FetchedCode>;
  /**
   * Names of all functions, each once, in the source's own order, as many at a time as come together: thousands of single
   * steps would hold up whatever else the process has to do. Invalid names are left out.
   */
  list(options?: Waiting): AsyncIterable<readonly string[]>;
  /** Resolves when the source answers; rejects with `code_source_error`. */
  check(options?: Waiting): Promise<void>;
  close(): Promise<void>;
}

/** A code source that can be written to (`writable`); other sources answer `read_only_source` in their place. */
export interface WritableCodeSource extends CodeSource {
  /** Stores a zip (already checked) as the function's code, whole or not at all. Returns the new change tag. */
  put(name: string, zip: Buffer, options?: Waiting): Promise<SourceObject>;
  /** Idempotent. */
  delete(name: string, options?: Waiting): Promise<void>;
}
