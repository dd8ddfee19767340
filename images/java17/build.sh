#!/bin/sh
# Compiles the Java runtime: build.sh <out folder> [<folder it will run from>, /opt/worker-front unless told].
# Needs JDK 17 with `jar`, and Gson's jar (GSON_JAR, else where Debian's libgoogle-gson-java has it). Writes
#   worker-front.jar  the runtime, lalb.* and Gson in one jar; functions are compiled against it too
#   worker-front.jsa  archive of loaded classes for that jar (ignored by the JVM when the jar has another path or time)
#   java.args         the whole command line: the sandbox runs `java @/opt/worker-front/java.args`
set -eu
src=$(cd "$(dirname "$0")" && pwd)
out=$1
home=${2:-/opt/worker-front}
gson=${GSON_JAR:-/usr/share/java/gson.jar}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/classes"
javac -Xlint:all,-options --release 17 -cp "$gson" -d "$work/classes" "$src"/lalb/*.java "$src"/workerfront/*.java
(cd "$work/classes" && jar xf "$gson" com)
printf '%s\n' 'Main-Class: workerfront.Bootstrap' 'Add-Opens: java.base/java.io java.base/java.lang' > "$work/manifest"
jar cfm0 "$out/worker-front.jar" "$work/manifest" -C "$work/classes" .
sed "s|@HOME@|$home|" "$src/java.args" > "$out/java.args"
