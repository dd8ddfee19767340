#!/bin/sh
# Compiles the Java runtime: build.sh <out folder> [<folder it will run from>, /opt/worker-front unless told].
# Needs JDK 17 with `jar`, and Gson's jar (GSON_JAR, else where Debian's libgoogle-gson-java has it). Writes
#   worker-front.jar  the runtime, lalb.* and Gson in one jar; functions are compiled against it too
#   worker-front.jsa  archive of loaded classes for that jar (the JVM ignores it when the jar or the JVM is another one)
#   java.args         the whole command line: the sandbox runs `java @/opt/worker-front/java.args`
set -eu
src=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
home=${2:-/opt/worker-front}
gson=${GSON_JAR:-/usr/share/java/gson.jar}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/classes" "$work/training"

# Strings joined by StringBuilder: the JVM's own way to join them takes 10 ms to start.
javac -XDstringConcat=inline -Xlint:all,-options --release 17 -cp "$gson" -d "$work/classes" "$src"/lalb/*.java "$src"/workerfront/*.java
(cd "$work/classes" && jar xf "$gson" com)
jar cf0 "$out/worker-front.jar" -C "$work/classes" .
javac --release 17 -cp "$work/classes" -d "$work/training" "$src"/training/*.java

# The archive is made with the JVM's default collector: only that one archives its heap, but all can load it.
list="$work/classlist"
java -XX:DumpLoadedClassList="$list" -cp "$out/worker-front.jar:$work/training" workerfront.Training > "$work/log"
grep -v Training "$list" > "$list.kept"
java -Xshare:dump -XX:SharedClassListFile="$list.kept" -XX:SharedArchiveFile="$out/worker-front.jsa" -cp "$out/worker-front.jar" \
  >> "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
sed "s|@HOME@|$home|" "$src/java.args" > "$out/java.args"
