"""Fetch shards from the web before they are needed, beside other work."""

from collections import deque
from contextlib import suppress
from threading import Lock, Thread

from data.shards.cache import ShardCache
from data.shards.lists import Shard
from util.base.errors import UserError

MOST = 2  # the shard that is opened now, and the next one


class FetchAhead:
    """Fetch shards one after another; if that fails, whoever reads them is told.

    Of those that are still to come only the latest count: a run that goes on inside an epoch asks
    for all that it is past as well, faster than they can be fetched.
    """

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache
        self._wanted: deque[Shard] = deque(maxlen=MOST)
        self._is_fetching = False
        self._lock = Lock()  # so that a shard that is asked for is seen before the thread ends

    def __reduce__(self) -> tuple[type["FetchAhead"], tuple[ShardCache]]:
        """Travel to a process that loads images without the thread and the lock."""
        return FetchAhead, (self._cache,)

    def want(self, shard: Shard) -> None:
        """Fetch a shard soon, if it is on the web and not here yet."""
        if not shard.is_remote:
            return
        with self._lock:
            self._wanted.append(shard)
            if not self._is_fetching:
                Thread(target=self._fetch_all, name="fetch shards ahead", daemon=True).start()
                self._is_fetching = True

    def _fetch_all(self) -> None:
        while shard := self._next():
            with suppress(UserError):
                self._cache.fetch(shard, patiently=False)

    def _next(self) -> Shard | None:
        with self._lock:
            self._is_fetching = bool(self._wanted)
            return self._wanted.popleft() if self._wanted else None
