process.stderr.write('last words\n');
process.kill(process.pid, 'SIGKILL');
