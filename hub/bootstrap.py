"""One worker process, put together: the only place that knows every room."""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import grpc
import uvloop
from opentelemetry import metrics

from hub import telemetry
from hub.audit.writer import AuditWriter
from hub.clock import steady, utc_now
from hub.config import HubSettings
from hub.domain.errors import Refused
from hub.domain.feed import Event
from hub.feed.lag import Lag
from hub.feed.tail import Tail
from hub.lookup.index import LookupIndex
from hub.service.access_desk import AccessDesk
from hub.service.area import AreaStatus
from hub.service.consents import ConsentRules, Consents
from hub.service.disclosure import Disclosure
from hub.service.federation import Federation
from hub.service.limits import CheckLimits, Rate
from hub.service.lookup import Lookup
from hub.service.matching import Matcher
from hub.service.membership import Membership
from hub.service.monitoring import Monitoring
from hub.service.nodes import NodeDirectory
from hub.service.registry import Registry
from hub.service.search import Search
from hub.service.vetting import Vetting
from hub.service.vigilance import Thresholds, Vigilance
from hub.signing import signer_of
from hub.store.area import AreaStore
from hub.store.database import PostgresDatabase
from hub.store.feed import FeedStore
from hub.store.keys import key_provider, rewrap
from hub.store.reindex import Reindex
from hub.store.vault import Vault, VaultError
from hub.store.watch_lists import WatchLists
from hub.transport import convert
from hub.transport.contract import method_policies
from hub.transport.gate import Gate
from hub.transport.health import Health
from hub.transport.identity import Identifier
from hub.transport.pipeline import Pipeline
from hub.transport.server import Tls, UseCases, build_enrolment_server, build_server

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 0.5
_GRACE_SECONDS = 5
_LAG_SECONDS = 2
_KEYS_SECONDS = 5
_REINDEX_SECONDS = 3600
_MONTH_SECONDS = 60
# Objects made, less those that are gone, between two looks for cycles.
_ALLOCATIONS = 20_000


def run_worker(settings: HubSettings, address: str, enrol_address: str, on_ready: Callable[[], None]) -> None:
    """Serves until SIGTERM, SIGINT or the end of the parent process.

    Args:
        address: HOST:PORT, shared with the other workers.
        enrol_address: the same, for nodes without a certificate; empty where they are not served.
        on_ready: is called once, when the worker has the register in memory.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s worker=%(process)d %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Worker(settings, address, enrol_address).serve(on_ready))


class _Worker:
    def __init__(self, settings: HubSettings, address: str, enrol_address: str) -> None:
        self._began = steady()
        vault = self._vault = Vault(key_provider(settings))
        self._settings = settings
        self._database = PostgresDatabase(settings.dsn.get_secret_value(), vault, settings.database_pool)
        telemetry.start(self._database.engine.sync_engine)
        self._index = LookupIndex(convert.lookup.disclosed_person)
        self._feed_store = feed_store = FeedStore(self._database, vault)
        self._reindex = Reindex(self._database, vault)
        self._tail = Tail(feed_store, self._apply, steady)
        self._lag = Lag()
        self._audit = AuditWriter(self._database)
        self._directory = NodeDirectory(self._database, steady)
        self._health = Health()
        meter = metrics.get_meter("nsor.hub")
        meter.create_observable_gauge("nsor.feed.age", [self._observe_age], "s", "Age of this worker's data.")
        federation = Federation(self._database, self._tail, feed_store, self._audit, utc_now)
        membership = Membership(self._database, self._audit, signer_of(settings, utc_now), vault.token, utc_now)
        disclosure = Disclosure(self._database, utc_now, steady)
        thresholds = Thresholds(settings.near_numbers_alarm, settings.misses_alarm, settings.askers_alarm)
        vigilance = Vigilance(self._database, utc_now, thresholds)
        self._area_status = AreaStatus(AreaStore(self._database, vault), self._audit, utc_now)
        limits = CheckLimits(
            Rate(settings.node_checks_per_second, settings.node_checks_burst),
            Rate(settings.officer_checks_per_second, settings.officer_checks_burst),
            Rate(settings.end_user_checks_per_hour / 3600, settings.end_user_checks_burst),
        )
        self._consents = Consents(
            self._database,
            self._audit,
            vault,
            utc_now,
            limits=limits,
            rules=ConsentRules(
                timedelta(minutes=settings.consent_minutes),
                settings.consent_tries,
                settings.person_consents_per_hour,
                settings.node_consents_per_hour,
            ),
        )
        watch_lists = WatchLists(self._database, vault)
        self._matcher = Matcher(
            watch_lists,
            self._tail,
            disclosure,
            utc_now,
            retention=timedelta(days=settings.alert_retention_days),
        )
        meter.create_observable_counter(
            "nsor.lookup.alarms",
            [lambda _: [metrics.Observation(count, {"kind": kind}) for kind, count in vigilance.counts.items()]],
            "{alarm}",
            "Alarms about odd use of checks, by kind.",
        )
        use_cases = UseCases(
            registry=Registry(
                self._database,
                self._tail,
                self._audit,
                vault.index,
                utc_now,
                transfer_time=timedelta(days=settings.transfer_days),
                duplicate_likeness=settings.duplicate_likeness,
            ),
            search=Search(self._database, self._tail, self._audit, utc_now, vault.search_subject),
            access_desk=AccessDesk(
                self._database,
                self._audit,
                utc_now,
                forwarding_time=timedelta(hours=settings.forwarding_hours),
                longest=timedelta(days=settings.access_days),
            ),
            lookup=Lookup(
                self._index,
                self._tail,
                vault.index,
                self._audit,
                utc_now,
                policy=disclosure,
                consents=self._consents,
                vigilance=vigilance,
                limits=limits,
                freshness_bound=settings.freshness_bound,
                provinces_as_of=lambda: self._lag.provinces_as_of(self._tail.known_at),
            ),
            area_status=self._area_status,
            disclosure=disclosure,
            vigilance=vigilance,
            federation=federation,
            membership=membership,
            monitoring=Monitoring(self._database, self._audit, utc_now),
            vetting=Vetting(
                watch_lists,
                self._matcher,
                vault.index,
                self._audit,
                utc_now,
                policy=disclosure,
                limits=limits,
                vigilance=vigilance,
                list_limit=settings.watch_list_limit,
            ),
            consents=self._consents,
        )
        identifier = Identifier(self._directory, settings.trust_domain, utc_now)
        policies = method_policies()
        pipeline = Pipeline(policies, identifier, self._audit, utc_now)
        at_the_gate = Pipeline(policies, identifier, self._audit, utc_now, gate=Gate())
        tls = Tls(settings.tls_certificate, settings.tls_key, settings.client_ca)
        # grpc.aio binds a server to the running loop, so they are made in `serve`.
        self._servers: list[Callable[[], grpc.aio.Server]] = [
            partial(
                build_server,
                address,
                tls,
                pipeline,
                use_cases,
                self._health,
                utc_now,
                with_reflection=settings.reflection,
            )
        ]
        if enrol_address:
            self._servers.append(
                partial(build_enrolment_server, enrol_address, tls, at_the_gate, federation, membership)
            )

    async def serve(self, on_ready: Callable[[], None]) -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        _stop_with_parent(stopping)
        await self._health.set_serving(False)
        servers = [build() for build in self._servers]
        # Before the register is loaded: callers are told why they get no answer instead of meeting a closed port.
        await asyncio.gather(*(server.start() for server in servers))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(work)
                for work in (
                    self._refresh_directory(),
                    self._follow_feed(),
                    self._tail.compact_forever(timedelta(days=self._settings.feed_retention_days)),
                    self._report(on_ready),
                    self._measure_lag(),
                    self._change_keys(),
                    self._complete_search_index(),
                    self._close_months(),
                    self._consents.sweep_forever(),
                )
            ]
            await stopping.wait()
            await self._health.set_serving(False)
            await asyncio.gather(*(server.stop(_GRACE_SECONDS) for server in servers))
            for task in tasks:
                task.cancel()
        # Now, while its loop still runs.
        del servers
        await self._database.close()

    async def _refresh_directory(self) -> None:
        while True:
            try:
                await self._directory.refresh()
            except Refused as refused:
                log.warning("nodes could not be read: %s", refused.reason)
            await asyncio.sleep(_REFRESH_SECONDS)

    async def _follow_feed(self) -> None:
        leave_alone_what_stays()
        while True:
            try:
                if await self._database.is_exempt():
                    log.error("the database user is a superuser or owns the tables: it must only be in nsor_app")
                    raise SystemExit(os.EX_CONFIG)
                await self._tail.start(self._index)
                leave_alone_what_stays()
                break
            except Refused as refused:
                log.warning("the register could not be loaded: %s", refused.reason)
                await asyncio.sleep(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tail.run())
            group.create_task(self._matcher.run())

    def _apply(self, event: Event) -> None:
        self._index.apply(event)
        self._matcher.hear(event)

    async def _report(self, on_ready: Callable[[], None]) -> None:
        """Keeps the health service true."""
        was_ready = False
        ever_ready = False
        while True:
            ready = self._directory.fresh and self._tail.age() <= self._settings.freshness_bound
            if ready != was_ready:
                await self._health.set_serving(ready)
                log.info("serving: %s, numbers: %d", ready, len(self._index))
            if ready and not ever_ready:
                ever_ready = True
                on_ready()
            was_ready = ready
            await asyncio.sleep(0.1)

    async def _measure_lag(self) -> None:
        while True:
            with suppress(Refused):  # the database is gone, which others say
                status = await self._feed_store.status()
                self._lag.record(status, steady(), self._tail.known_at)
            await asyncio.sleep(_LAG_SECONDS)

    async def _change_keys(self) -> None:
        """Follows what the operator does to the keys, and wraps older records anew."""
        while True:
            await asyncio.sleep(_KEYS_SECONDS)
            try:
                self._vault.refresh()
                while self._vault.rotating and await rewrap(self._database, self._vault):
                    pass
            except Refused as refused:
                log.warning("keys were not wrapped anew: %s", refused.reason)
            except (OSError, ValueError, VaultError) as error:
                log.error("the keys could not be read, those from before stay: %s", type(error).__name__)

    async def _complete_search_index(self) -> None:
        while True:
            try:
                if count := await self._reindex.run():
                    log.info("records indexed for searches: %d", count)
            except Refused as refused:
                log.warning("the search index could not be completed: %s", refused.reason)
            # Again, since workers of an older version can go on writing for a while.
            await asyncio.sleep(_REINDEX_SECONDS)

    async def _close_months(self) -> None:
        while True:
            try:
                if month := await self._area_status.close_month():
                    log.info("area status of %s counted", f"{month:%Y-%m}")
            except Refused as refused:
                log.warning("the area status was not counted: %s", refused.reason)
            await asyncio.sleep(_MONTH_SECONDS)

    def _observe_age(self, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        # Who never knew anything is as old as itself, at least: nothing told would look like nothing wrong.
        return [metrics.Observation(min(self._tail.age(), steady() - self._began))]


def leave_alone_what_stays() -> None:
    """Lets Python look for cycles less often, not in what is in memory now: a tenth of a check, a quarter of a load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)


def _stop_with_parent(stopping: asyncio.Event) -> None:
    """Ends the worker when its supervisor was killed, so that none is left behind."""
    loop = asyncio.get_running_loop()
    if parent := multiprocessing.parent_process():

        def gone(sentinel: int) -> None:
            loop.remove_reader(sentinel)
            stopping.set()

        loop.add_reader(parent.sentinel, gone, parent.sentinel)
