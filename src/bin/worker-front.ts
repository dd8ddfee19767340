#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';

// While a program is loaded nearly everything young is garbage, for which V8 would take 32 MB that an idle daemon then keeps.
// So its space for young objects stays at its first size until `growAsUsual`; before anything is loaded, therefore a file of its own.
setFlagsFromString('--semi-space-growth-factor=1');
await import('./main.ts');
