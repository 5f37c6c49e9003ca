#!/bin/sh
# Makes this folder a git repository with the history that repo.history shows. The same everywhere: names and dates
# are fixed. Run it confined, as everything that touches a repository:
#   callgate exec --preset git --write . --write .git -- sh make-history.sh
set -eu

commit() {
  export GIT_AUTHOR_NAME="$1" GIT_AUTHOR_EMAIL="$1@harbour-ferry.example" GIT_AUTHOR_DATE="$2"
  export GIT_COMMITTER_NAME="$1" GIT_COMMITTER_EMAIL="$1@harbour-ferry.example" GIT_COMMITTER_DATE="$2"
  message=$3
  shift 3
  git add -- "$@"
  git commit --quiet --no-gpg-sign --message "$message"
}

git -c init.defaultBranch=main init --quiet
commit ada "2026-03-02T08:00:00Z" "Tell the time" package.json src/clock.js test/clock.test.js
commit ada "2026-03-03T09:30:00Z" "Three lines and their departures" data
commit linus "2026-03-05T14:10:00Z" "Find the next boat" src/timetable.js test/timetable.test.js
commit grace "2026-03-09T10:45:00Z" "Deploy by one small program" deploy notes
commit grace "2026-03-10T16:20:00Z" "Put a gate before the tools" .
