-- One service in the catalogue's words, as last loaded.
SELECT argMax(services.name, loaded) AS name,
       argMax(services.vendor_name, loaded) AS vendor_name,
       argMax(services.category, loaded) AS category,
       argMax(services.country, loaded) AS country,
       argMax(services.description, loaded) AS description,
       argMax(tuple(services.score), loaded).1 AS score,
       argMax(services.facts, loaded) AS facts
FROM services
WHERE id = {service:String}
GROUP BY id
