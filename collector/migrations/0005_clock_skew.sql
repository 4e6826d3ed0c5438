-- A sensor's clock against the store's: seconds to add to the sensor's times. Unknown until something was delivered.

ALTER TABLE aiscope.sensor_stats${local} ${on_cluster}
ADD COLUMN IF NOT EXISTS clock_skew Nullable(Float64) CODEC(ZSTD(1)) AFTER bytes_dropped_limit;

-- only: cluster
ALTER TABLE aiscope.sensor_stats ${on_cluster} ADD COLUMN IF NOT EXISTS clock_skew Nullable(Float64);
