usage.time >= {start:DateTime64(6, 'UTC')} AND usage.time < {end:DateTime64(6, 'UTC')}
  AND (empty({services:Array(String)}) OR has({services:Array(String)}, usage.service))
  AND (empty({categories:Array(String)}) OR has({categories:Array(String)}, usage.category))
  AND (empty({clients:Array(String)}) OR has({clients:Array(String)}, usage.client))
  AND ({service:String} = '' OR usage.service = {service:String})
  AND ({client:String} = '' OR usage.client = {client:String})
