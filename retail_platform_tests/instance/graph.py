"""A small graph of every kind of event: partitioned and not, checks of both kinds, a failing check."""

import dagster as dg

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
SINGLE_RUN = dg.BackfillPolicy.single_run()


@dg.asset(partitions_def=DAYS, backfill_policy=SINGLE_RUN, key_prefix="probe")
def sales(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"days": len(context.partition_keys)})


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=SINGLE_RUN,
    deps=[sales],
    key_prefix="probe",
    check_specs=[dg.AssetCheckSpec("inside", asset=["probe", "facts"])],
)
def facts() -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, Dagster takes no argument
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset(deps=[facts], key_prefix="probe")
def mart() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


@dg.asset_check(asset=facts)
def holds() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"rows": 3})


@dg.asset_check(asset=mart)
def fails() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


DEFINITIONS = dg.Definitions(
    assets=[sales, facts, mart], asset_checks=[holds, fails], jobs=[dg.define_asset_job("everything", "*")]
)


def run_all_days(instance: dg.DagsterInstance) -> str:
    """Run the graph for all its days as one run, as a sensor's request would; the run's id."""
    tags = {
        "dagster/asset_partition_range_start": DAYS.get_partition_keys()[0],
        "dagster/asset_partition_range_end": DAYS.get_partition_keys()[-1],
    }
    result = DEFINITIONS.resolve_job_def("everything").execute_in_process(instance=instance, tags=tags)
    assert result.success
    return result.run_id
