#!/bin/bash
# Files as a shell reads them. What is written goes below /tmp and is gone at the end.
cd /srv/data
wc -c < large
read -r first < lines; echo "$first"
mapfile -t all < lines; echo "${#all[@]} ${all[999]}"
echo "$(< short)"
exec 5< lines; read -r -u 5 one; read -r -u 5 two; echo "$one $two"; exec 5<&-
cat <<HERE
$(cat short) in a here-document
HERE
cat <<< "$(head -c 5 short)"
diff <(head -3 lines) <(sed -n 1,3p link) && echo same
for one in l* deep/*; do echo "$one"; done
[[ -f short && ! -e none && -L link && -d deep && -s lines && ! -s empty && lines -ef link ]] && echo tests
shopt -s globstar; echo **/one
. short 2> /dev/null || echo "sourced: $?"
cat none 2>&1; cat < none 2> /dev/null || echo "no redirection"
cat lines | tail -n 1 > /tmp/of-bash; cat lines >> /tmp/of-bash; wc -l < /tmp/of-bash; rm /tmp/of-bash
pushd deep/er > /dev/null; pwd; pwd -P; cat ../er/still/one; popd > /dev/null; echo "$PWD"
ls -lR --time-style=full-iso . ; find . -type f -size +1k | sort; sha256sum large lines | tee /dev/null
tar -cf - --sort=name . | sha256sum; cp -a . /tmp/copy-of-bash && diff -r . /tmp/copy-of-bash 2> /dev/null; rm -r /tmp/copy-of-bash
stat -c '%n %F %s %a %u %Y' * | sort; du -sb deep; file=$(mktemp) && cat short > "$file" && cat "$file" && rm "$file"
dd if=large bs=4096 skip=3 count=2 2> /dev/null | sha256sum; tail -c 20 large | sha256sum; cmp large large && echo equal
