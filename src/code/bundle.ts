/** The unpacked code of one version on disk. Immutable once it exists. */
export interface Bundle {
  /** Function name. */
  name: string;
  /** Hex SHA-256 over the relative paths, executable bits and contents of all files. */
  version: string;
  /** Absolute path of the folder with the code. */
  dir: string;
  /** Bytes of unpacked code. */
  bytes: number;
  /** Change tag of the source object that it came from. */
  tag: string;
}
