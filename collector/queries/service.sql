-- One service in the catalogue's words, as last loaded.
SELECT argMax(services.name, loaded) AS name,
       argMax(services.vendor_name, loaded) AS vendor_name,
       argMax(services.category, loaded) AS category
FROM services
WHERE id = {service:String}
GROUP BY id
