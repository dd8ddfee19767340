import { existsSync } from 'node:fs';
import type { Config } from './config.ts';
import { isLoopback } from './http-settings.ts';

/** What these settings leave open, for the log and `readyz`. */
export function warningsOf(config: Config): string[] {
  const warnings: string[] = [];
  if (config.build.network === 'host') {
    warnings.push("BUILD_NETWORK=host: image builds run strangers' code that can reach the services of this machine");
  } else if (config.build.network !== undefined) {
    warnings.push(`BUILD_NETWORK=${config.build.network}: image builds are not behind the network walls`);
  }
  if (config.seccomp?.allowsByDefault) {
    warnings.push(
      "SECCOMP_PROFILE allows the system calls that it does not name: it may be weaker than the engine's own profile",
    );
  }
  if (config.http.tokens.length === 0 && !existsSync(config.http.tokensFile) && !isLoopback(config.http.host)) {
    warnings.push('everybody who reaches this address can run functions and change settings (ALLOW_UNAUTHENTICATED)');
  }
  return warnings;
}
